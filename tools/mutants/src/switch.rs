//! The switch of the mistakes: the one whose number is in `MUTANT` is on.

use std::cmp::PartialOrd;
use std::ops::{Add, AddAssign, Div, Mul, Sub, SubAssign};
use std::sync::LazyLock;

static ON: LazyLock<u32> =
    LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0));

#[inline]
pub fn on(id: u32) -> bool {
    *ON == id
}

#[inline]
fn which(id: u32, count: u32) -> Option<u32> {
    let on = *ON;
    (on >= id && on < id + count).then(|| on - id)
}

pub fn less<A: PartialOrd<B>, B>(id: u32, a: &A, b: &B) -> bool {
    match which(id, 2) {
        Some(0) => a <= b,
        Some(_) => a >= b,
        None => a < b,
    }
}

pub fn less_equal<A: PartialOrd<B>, B>(id: u32, a: &A, b: &B) -> bool {
    match which(id, 2) {
        Some(0) => a < b,
        Some(_) => a > b,
        None => a <= b,
    }
}

pub fn greater<A: PartialOrd<B>, B>(id: u32, a: &A, b: &B) -> bool {
    match which(id, 2) {
        Some(0) => a >= b,
        Some(_) => a <= b,
        None => a > b,
    }
}

pub fn greater_equal<A: PartialOrd<B>, B>(id: u32, a: &A, b: &B) -> bool {
    match which(id, 2) {
        Some(0) => a > b,
        Some(_) => a < b,
        None => a >= b,
    }
}

pub fn plus<A: Add<B, Output = O> + Sub<B, Output = O>, B, O>(id: u32, a: A, b: B) -> O {
    if on(id) { a - b } else { a + b }
}

pub fn minus<A: Add<B, Output = O> + Sub<B, Output = O>, B, O>(id: u32, a: A, b: B) -> O {
    if on(id) { a + b } else { a - b }
}

pub fn times<A: Mul<B, Output = O> + Div<B, Output = O>, B, O>(id: u32, a: A, b: B) -> O {
    if on(id) { a / b } else { a * b }
}

pub fn over<A: Mul<B, Output = O> + Div<B, Output = O>, B, O>(id: u32, a: A, b: B) -> O {
    if on(id) { a * b } else { a / b }
}

pub fn plus_assign<A: AddAssign<B> + SubAssign<B>, B>(id: u32, a: &mut A, b: B) {
    if on(id) { *a -= b } else { *a += b }
}

pub fn max<A: PartialOrd>(id: u32, a: A, b: A) -> A {
    if (a < b) ^ on(id) { b } else { a }
}

pub fn min<A: PartialOrd>(id: u32, a: A, b: A) -> A {
    if (b < a) ^ on(id) { b } else { a }
}
