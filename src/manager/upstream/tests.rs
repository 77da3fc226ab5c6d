//! How instances stand and are chosen, as sentences.

use super::*;

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const C: &str = "10.0.0.3:80";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct World {
    upstream: Upstream,
    now: Instant,
}

impl World {
    fn new(balance: Balance, is_checked: bool, slow_start: u64, listed: &[&str]) -> Self {
        let eject = Eject {
            failures: 3,
            duration: Duration::from_secs(30),
            duration_max: Duration::from_secs(45),
            percent: 50,
        };
        let rules = Rules {
            balance,
            is_checked,
            fall: 3,
            rise: 2,
            eject,
            slow_start: Duration::from_secs(slow_start),
        };
        let mut world = Self { upstream: Upstream::new(rules), now: Instant::now() };
        world.list(listed);
        world
    }

    fn list(&mut self, listed: &[&str]) -> Vec<Change> {
        self.tell(Fact::Listed(listed.iter().map(|text| at(text)).collect()))
    }

    fn tell(&mut self, fact: Fact) -> Vec<Change> {
        self.upstream.step(fact, self.now)
    }

    fn pass(&mut self, which: &str) -> Vec<Standing> {
        self.tell(Fact::Checked(at(which), Ok(()), false)).into_iter().map(|change| change.standing).collect()
    }

    fn fail(&mut self, which: &str) -> Vec<Standing> {
        let ill = Err(Ailing::Ill("503".to_owned()));
        self.tell(Fact::Checked(at(which), ill, false)).into_iter().map(|change| change.standing).collect()
    }

    fn bad(&mut self, which: &str) -> usize {
        self.tell(Fact::Answered(at(which), Outcome::Bad("500".to_owned()))).len()
    }

    fn pick(&mut self) -> Option<SocketAddr> {
        self.upstream.pick(0, None, &[], self.now)
    }

    /// So many of so many picks go to each of A, B and C, each ending at once.
    fn shares(&mut self, picks: usize) -> [usize; 3] {
        let mut shares = [0; 3];
        for _ in 0..picks {
            let picked = self.pick().unwrap();
            self.upstream.release(picked);
            shares[[A, B, C].iter().position(|text| at(text) == picked).unwrap()] += 1;
        }
        shares
    }
}

#[test]
fn an_instance_that_is_checked_takes_nothing_until_its_first_check_passes() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A]);
    assert_eq!(world.pick(), None);
    assert_eq!(world.pass(A), [Standing::Up]);
    assert_eq!(world.pick(), Some(at(A)));
}

#[test]
fn checks_fall_and_rise_by_their_numbers() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A]);
    world.pass(A);
    assert_eq!([world.fail(A), world.fail(A)].concat(), []);
    assert_eq!(world.pass(A), []);
    assert_eq!([world.fail(A), world.fail(A)].concat(), []);
    assert_eq!(world.fail(A), [Standing::Ill]);
    assert_eq!(world.pass(A), []);
    assert_eq!(world.fail(A), []);
    assert_eq!(world.pass(A), []);
    assert_eq!(world.pass(A), [Standing::Up]);
}

#[test]
fn an_ill_instance_is_used_only_when_there_is_no_better_one() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A, B]);
    world.pass(A);
    assert_eq!(world.fail(B), [Standing::Ill]);
    assert_eq!(world.shares(10), [10, 0, 0]);
    world.fail(A);
    world.fail(A);
    world.fail(A);
    assert_eq!(world.shares(10), [5, 5, 0]);
}

#[test]
fn an_instance_without_a_connection_is_gone_at_once_and_back_with_the_first_success() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A]);
    world.pass(A);
    let changes = world.tell(Fact::Answered(at(A), Outcome::NoConnection("refused".to_owned())));
    assert_eq!(changes[0].standing, Standing::Gone);
    assert_eq!(world.pick(), None);
    assert_eq!(world.pass(A), [Standing::Up]);
}

#[test]
fn bad_answers_in_a_row_eject_for_a_while_that_grows() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A, B]);
    assert_eq!([world.bad(A), world.bad(A)], [0, 0]);
    world.tell(Fact::Answered(at(A), Outcome::Good));
    assert_eq!([world.bad(A), world.bad(A), world.bad(A)], [0, 0, 1]);
    assert_eq!(world.shares(4), [0, 4, 0]);
    assert_eq!(world.upstream.next_deadline(), Some(world.now + Duration::from_secs(30)));
    world.now += Duration::from_secs(30);
    assert_eq!(world.tell(Fact::Tick).len(), 1);
    assert_eq!(world.shares(4), [2, 2, 0]);
    assert_eq!([world.bad(A), world.bad(A), world.bad(A)], [0, 0, 1]);
    // Twice 30 s would be more than the most.
    assert_eq!(world.upstream.next_deadline(), Some(world.now + Duration::from_secs(45)));
}

#[test]
fn the_last_instance_is_never_ejected() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A]);
    assert_eq!((0..20).map(|_| world.bad(A)).sum::<usize>(), 0);
    assert_eq!(world.pick(), Some(at(A)));
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A, B]);
    for _ in 0..3 {
        world.bad(A);
    }
    assert_eq!((0..20).map(|_| world.bad(B)).sum::<usize>(), 0);
    assert_eq!(world.shares(2), [0, 2, 0]);
}

#[test]
fn turns_are_even_and_smooth() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A, B, C]);
    let first: Vec<_> = (0..6).map(|_| world.pick().unwrap()).collect();
    assert_eq!(first[..3], first[3..]);
    assert_eq!(world.shares(300), [100, 100, 100]);
}

#[test]
fn a_slow_start_begins_with_a_small_share() {
    let mut world = World::new(Balance::RoundRobin, true, 100, &[A, B]);
    world.pass(A);
    world.now += Duration::from_secs(200);
    world.pass(B);
    let shares = world.shares(110);
    assert_eq!(shares[1], 10);
    world.now += Duration::from_secs(50);
    assert_eq!(world.shares(150)[1], 50);
    world.now += Duration::from_secs(50);
    assert_eq!(world.shares(100), [50, 50, 0]);
}

#[test]
fn the_instance_with_the_fewest_requests_is_next() {
    let mut world = World::new(Balance::LeastConnections, false, 0, &[A, B]);
    let first = world.pick().unwrap();
    let second = world.pick().unwrap();
    assert_ne!(first, second);
    world.upstream.release(second);
    assert_eq!(world.pick(), Some(second));
}

#[test]
fn a_hash_keeps_what_it_can_when_an_instance_goes() {
    let mut world = World::new(Balance::Hash, false, 0, &[A, B, C]);
    let choose = |world: &mut World, key| world.upstream.pick(key, None, &[], world.now).unwrap();
    let before: Vec<_> = (0..300).map(|key| choose(&mut world, key)).collect();
    assert!([A, B, C].iter().all(|text| before.iter().filter(|to| **to == at(text)).count() > 50));
    world.list(&[A, B]);
    for (key, before) in before.into_iter().enumerate() {
        let after = choose(&mut world, key as u64);
        assert!(after == before || before == at(C));
    }
}

#[test]
fn a_sticky_client_stays_as_long_as_its_instance_is_well() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A, B]);
    let wanted = Some(mark(at(B)));
    assert!((0..5).all(|_| world.upstream.pick(0, wanted, &[], world.now) == Some(at(B))));
    world.tell(Fact::Draining(at(B), true));
    assert_eq!(world.upstream.pick(0, wanted, &[], world.now), Some(at(A)));
}

#[test]
fn a_retry_goes_to_another_instance_if_there_is_one() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A, B]);
    assert!((0..5).all(|_| world.upstream.pick(0, None, &[at(A)], world.now) == Some(at(B))));
    assert!(world.upstream.pick(0, None, &[at(A), at(B)], world.now).is_some());
}

#[test]
fn while_it_is_away_only_fresh_instances_take_requests() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A]);
    world.pass(A);
    world.tell(Fact::AwayBegun);
    assert!(world.upstream.is_away() && world.upstream.is_leaving(at(A)));
    world.pass(A);
    assert_eq!(world.pick(), None);
    world.list(&[A, B]);
    assert_eq!(world.pick(), None);
    world.pass(B);
    assert_eq!(world.pick(), Some(at(B)));
    world.tell(Fact::Reported(at(A), Report::NotReady("killed".to_owned())));
    let back = world.tell(Fact::AwayEnded);
    assert_eq!(back.len(), 1);
    assert_eq!(world.upstream.serving(), 2);
}

#[test]
fn an_instance_that_is_not_listed_any_more_ends_with_its_last_request() {
    let mut world = World::new(Balance::RoundRobin, false, 0, &[A]);
    assert_eq!(world.pick(), Some(at(A)));
    let changes = world.list(&[B]);
    assert_eq!((changes.len(), changes[0].cause.clone()), (1, Cause::Unlisted));
    assert_eq!(world.pick(), Some(at(B)));
    assert_eq!(world.upstream.in_flight(at(A)), 1);
    assert!(world.upstream.release(at(A)));
    assert_eq!(world.upstream.views().len(), 1);
}

#[test]
fn what_was_said_to_be_away_is_sent_nothing_until_a_check_passes() {
    let mut world = World::new(Balance::RoundRobin, true, 0, &[A]);
    world.pass(A);
    world.tell(Fact::Reported(at(A), Report::NotReady("its container is paused".to_owned())));
    // Connections are accepted, and not answered.
    assert_eq!((world.fail(A), world.pick()), (Vec::new(), None));
    assert_eq!(world.pass(A), [Standing::Up]);
    assert_eq!(world.pick(), Some(at(A)));
}
