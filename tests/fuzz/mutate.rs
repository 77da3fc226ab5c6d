//! Makes new inputs from old ones. The same seed makes the same.

/// A random number generator of 64 bits of state (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// With this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.roll() % bound).expect("it is below a usize")
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Bytes that parsers treat in a special way.
const SPECIAL: &[u8] = b"\0\n\r\t \"'\\$%{}[]()<>,.;:=+-_/#*&?!@\x1b\x7f\x80\xc3\xed\xff019azAZ";

/// Numbers at the edges of types.
const EDGES: [&str; 14] = [
    "0",
    "-1",
    "1",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
];

/// A child of one or two of `corpus`, not longer than `most`; words of `dictionary` are put into it.
pub fn mutate(dice: &mut Dice, corpus: &[Vec<u8>], dictionary: &[&str], most: usize) -> Vec<u8> {
    let mut bytes = dice.pick(corpus).clone();
    // Few changes mostly: an input that nothing can be made of says little.
    let changes = 1 + dice.below(4) * dice.below(4);
    for _ in 0..changes {
        change(dice, &mut bytes, corpus, dictionary);
        bytes.truncate(most);
    }
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], dictionary: &[&str]) {
    let at = dice.below(bytes.len() + 1);
    let (from, to) = range(dice, bytes.len());
    match dice.below(12) {
        0 => flip(dice, bytes),
        1 => set(dice, bytes),
        2 => drop(bytes.drain(from..to)),
        3 => {
            let part = bytes[from..to].to_vec();
            insert(bytes, at, &part);
        }
        4 => {
            let part = [*dice.pick(SPECIAL)].repeat(1 + dice.below(4));
            insert(bytes, at, &part);
        }
        5 | 6 if !dictionary.is_empty() => insert(bytes, at, dice.pick(dictionary).as_bytes()),
        7 if !dictionary.is_empty() => {
            bytes.splice(from..to, dice.pick(dictionary).bytes());
        }
        8 => {
            let other = dice.pick(corpus);
            let (from, to) = range(dice, other.len());
            insert(bytes, at, &other[from..to]);
        }
        9 => number(dice, bytes),
        10 => line(dice, bytes),
        11 => {
            // Much of the same: bounds are found so.
            let (from, to) = (from, to.min(from + 64));
            let part = bytes[from..to].repeat(dice.below(300));
            insert(bytes, at, &part);
        }
        _ => bytes.truncate(at),
    }
}

fn range(dice: &mut Dice, length: usize) -> (usize, usize) {
    let from = dice.below(length + 1);
    let longest = (length - from).min(if dice.below(4) == 0 { length } else { 12 });
    (from, from + dice.below(longest + 1))
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

fn flip(dice: &mut Dice, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
    }
}

fn set(dice: &mut Dice, bytes: &mut [u8]) {
    if !bytes.is_empty() {
        let at = dice.below(bytes.len());
        bytes[at] = if dice.below(3) == 0 { dice.roll().to_le_bytes()[0] } else { *dice.pick(SPECIAL) };
    }
}

/// Another number in the place of one.
fn number(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[*at - 1].is_ascii_digit()))
        .collect();
    if starts.is_empty() {
        return;
    }
    let from = *dice.pick(&starts);
    let length = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(from..from + length, dice.pick(&EDGES).bytes());
}

/// A line goes elsewhere, or comes twice.
fn line(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let from = dice.below(lines.len());
    let moved = if dice.below(2) == 0 { lines.remove(from) } else { lines[from].clone() };
    let to = dice.below(lines.len() + 1);
    lines.insert(to, moved);
    *bytes = lines.concat();
}
