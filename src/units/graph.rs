//! Who is started before whom: order, cycles, dependants, and pictures of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use crate::units::name::UnitName;
use crate::units::spec::{UnitSet, UnitSpec};

/// The relations that order two units, as they are called in files, each with the units named.
fn order_of(spec: &UnitSpec) -> [(&'static str, &[UnitName]); 3] {
    [("requires", &spec.requires), ("wants", &spec.wants), ("after", &spec.after)]
}

/// All units in the order of their start: each level starts when those before it are ready, its units in parallel.
#[must_use]
pub fn levels(set: &UnitSet) -> Vec<Vec<UnitName>> {
    let mut waits: BTreeMap<&UnitName, usize> = BTreeMap::new();
    let mut followers: BTreeMap<&UnitName, Vec<&UnitName>> = BTreeMap::new();
    for (name, spec) in &set.units {
        let before: BTreeSet<&UnitName> = order_of(spec).into_iter().flat_map(|(_, names)| names).collect();
        waits.insert(name, before.len());
        for other in before {
            followers.entry(other).or_default().push(name);
        }
    }
    let mut level: Vec<&UnitName> =
        waits.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut levels = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for follower in level.iter().filter_map(|name| followers.get(name)).flatten() {
            if let Some(count) = waits.get_mut(follower) {
                *count -= 1;
                if *count == 0 {
                    next.push(*follower);
                }
            }
        }
        next.sort_unstable();
        levels.push(level.into_iter().cloned().collect());
        level = next;
    }
    levels
}

/// The units that cannot be up without `name`, or go down with it, however far away: by `requires` and `part_of`.
#[must_use]
pub fn dependants(set: &UnitSet, name: &UnitName) -> BTreeSet<UnitName> {
    let mut direct: BTreeMap<&UnitName, Vec<&UnitName>> = BTreeMap::new();
    for spec in set.units.values() {
        for other in spec.requires.iter().chain(&spec.part_of) {
            direct.entry(other).or_default().push(&spec.name);
        }
    }
    let mut found = BTreeSet::new();
    let mut queue = VecDeque::from([name]);
    while let Some(next) = queue.pop_front() {
        for dependant in direct.get(next).into_iter().flatten() {
            if *dependant != name && found.insert((*dependant).clone()) {
                queue.push_back(dependant);
            }
        }
    }
    found
}

/// One cycle of each knot in a directed graph of `edges.len()` nodes: the nodes in order, the first not repeated, the
/// shortest that goes through the lowest node of the knot that lies on one.
#[must_use]
pub fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let knot = knots(edges);
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for start in 0..edges.len() {
        if done.contains(&knot[start]) {
            continue;
        }
        if let Some(cycle) = shortest_cycle(edges, &knot, start) {
            done.insert(knot[start]);
            found.push(cycle);
        }
    }
    found
}

/// The knot (strongly connected component) of each node, by Tarjan, without recursion: a chain of units may be long.
fn knots(edges: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let count = edges.len();
    let (mut index, mut low, mut knot) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
    let (mut stack, mut next) = (Vec::new(), 0);
    for root in 0..count {
        if index[root] != NONE {
            continue;
        }
        let mut calls = vec![(root, 0)];
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            }
            if let Some(&other) = edges[node].get(edge) {
                calls.push((node, edge + 1));
                if index[other] == NONE {
                    calls.push((other, 0));
                } else if knot[other] == NONE {
                    low[node] = low[node].min(index[other]);
                }
                continue;
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    knot[member] = node;
                    if member == node {
                        break;
                    }
                }
            }
            if let Some((parent, _)) = calls.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
    }
    knot
}

fn shortest_cycle(edges: &[Vec<usize>], knot: &[usize], start: usize) -> Option<Vec<usize>> {
    let mut came: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for &other in edges[node].iter().filter(|other| knot[**other] == knot[start]) {
            if other == start {
                let mut path = vec![node];
                while let Some(&before) = came.get(&path[path.len() - 1]) {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if let std::collections::btree_map::Entry::Vacant(slot) = came.entry(other) {
                slot.insert(node);
                queue.push_back(other);
            }
        }
    }
    None
}

/// The order of start as text: one level a line group, with what each unit waits for.
#[must_use]
pub fn text(set: &UnitSet) -> String {
    let mut out = String::new();
    for (number, level) in levels(set).iter().enumerate() {
        let _ = writeln!(out, "{}.", number + 1);
        for spec in level.iter().filter_map(|name| set.units.get(name)) {
            let mark = if spec.enabled { "" } else { " (not enabled)" };
            let _ = writeln!(out, "   {}{mark}", spec.name);
            for (relation, names) in relations_of(spec) {
                if !names.is_empty() {
                    let _ = writeln!(out, "      {relation} {}", join(names));
                }
            }
        }
    }
    out
}

/// The same as a graph for `dot`.
#[must_use]
pub fn dot(set: &UnitSet) -> String {
    let mut out = "digraph units {\n  rankdir = LR;\n  node [shape = box];\n".to_owned();
    for spec in set.units.values() {
        let style = if spec.enabled { "" } else { " [style = dashed]" };
        let _ = writeln!(out, "  \"{}\"{style};", spec.name);
    }
    for spec in set.units.values() {
        for (relation, names) in relations_of(spec) {
            for other in names {
                let _ = writeln!(out, "  \"{}\" -> \"{other}\" [label = \"{relation}\"];", spec.name);
            }
        }
    }
    out + "}\n"
}

fn relations_of(spec: &UnitSpec) -> impl Iterator<Item = (&'static str, &[UnitName])> {
    let [a, b, c] = order_of(spec);
    [a, b, c, ("part_of", &spec.part_of), ("conflicts", &spec.conflicts)].into_iter()
}

fn join(names: &[UnitName]) -> String {
    names.iter().map(UnitName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::Strategy;

    use super::cycles;

    /// Whether a graph of `count` nodes has a cycle, by removing what has no edge out.
    fn is_cyclic(edges: &[Vec<usize>]) -> bool {
        let mut left: Vec<usize> = (0..edges.len()).collect();
        loop {
            let before = left.len();
            let still = left.clone();
            left.retain(|node| edges[*node].iter().any(|other| still.contains(other)));
            if left.len() == before {
                return !left.is_empty();
            }
        }
    }

    fn is_judged_right(edges: &[Vec<usize>]) {
        let found = cycles(edges);
        assert_eq!(!found.is_empty(), is_cyclic(edges), "{edges:?}");
        for cycle in found {
            for (at, node) in cycle.iter().enumerate() {
                assert!(edges[*node].contains(&cycle[(at + 1) % cycle.len()]), "{edges:?} {cycle:?}");
            }
        }
    }

    #[test]
    fn every_graph_of_four_nodes_is_judged_right() {
        for bits in 0..1_u32 << 16 {
            let edges: Vec<Vec<usize>> =
                (0..4).map(|a| (0..4).filter(|b| bits >> (a * 4 + b) & 1 == 1).collect()).collect();
            is_judged_right(&edges);
        }
    }

    #[test]
    fn every_graph_of_five_nodes_is_judged_right() {
        // Four of a node's five edges: a node that requires itself is a cycle whatever the others do, seen above.
        for bits in 0..1_u32 << 20 {
            let others = |a: usize| (0..4).filter(move |b| bits >> (a * 4 + b) & 1 == 1);
            let edges: Vec<Vec<usize>> =
                (0..5).map(|a| others(a).map(|b| if b < a { b } else { b + 1 }).collect()).collect();
            is_judged_right(&edges);
        }
    }

    proptest::proptest! {
        #[test]
        fn graphs_of_many_nodes_are_judged_right(
            edges in (1_usize..200).prop_flat_map(|count| {
                proptest::collection::vec(proptest::collection::vec(0..count, 0..4), count)
            })
        ) {
            is_judged_right(&edges);
        }

        /// Edges to lower numbers only make no cycle, however many there are.
        #[test]
        fn graphs_without_a_cycle_have_none(
            edges in proptest::collection::vec(proptest::collection::vec(0_usize..200, 0..6), 1..200)
        ) {
            let below = |(node, ends): (usize, Vec<usize>)| ends.into_iter().filter(|end| *end < node).collect();
            let edges: Vec<Vec<usize>> = edges.into_iter().enumerate().map(below).collect();
            proptest::prop_assert!(cycles(&edges).is_empty());
        }
    }

    #[test]
    fn a_chain_of_many_does_not_use_up_the_stack() {
        let chain: Vec<Vec<usize>> = (0..50_000).map(|n| if n == 0 { vec![] } else { vec![n - 1] }).collect();
        assert!(cycles(&chain).is_empty());
    }
}
