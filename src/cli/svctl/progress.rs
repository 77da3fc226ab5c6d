//! What is under way, drawn on a terminal and drawn over again: one line a unit.
//!
//! Nothing of it stays: it is wiped before a result is printed, so what is left on the screen is what a pipe would get.

use std::collections::BTreeMap;

use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::out::Out;
use crate::cli::render::words;

/// Units that are drawn at most; the others are counted.
const DRAWN_MAX: usize = 12;

/// The lines that are on the screen and will be drawn over.
#[derive(Default)]
pub(super) struct Progress {
    under_way: BTreeMap<String, (String, String)>,
    drawn: usize,
}

impl Progress {
    /// `unit` has come so far.
    pub(super) fn set(&mut self, out: &mut Out, unit: &str, state: &str, why: &str) {
        self.under_way.insert(unit.to_owned(), (state.to_owned(), words::printable(why)));
        self.draw(out);
    }

    /// `unit` is decided; its result is to be printed next.
    pub(super) fn remove(&mut self, out: &mut Out, unit: &str) {
        self.under_way.remove(unit);
        self.wipe(out);
    }

    /// What is known of `unit`, when it is not decided.
    pub(super) fn get(&self, unit: &str) -> Option<&(String, String)> {
        self.under_way.get(unit)
    }

    /// Draws again what is under way.
    pub(super) fn draw(&mut self, out: &mut Out) {
        if !out.look.moves {
            return;
        }
        self.wipe(out);
        let look = out.look;
        for (unit, (state, why)) in self.under_way.iter().take(DRAWN_MAX) {
            let why = look.fit(unit.chars().count() + state.chars().count() + 6, why);
            let state = look.paint(tone_of_state(state), state);
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            out.line(format!("{unit}: {state}{}", look.paint(Tone::Faint, &why)));
        }
        self.drawn = self.under_way.len().min(DRAWN_MAX);
        if self.under_way.len() > DRAWN_MAX {
            out.hint(&format!("and {} more", self.under_way.len() - DRAWN_MAX));
            self.drawn += 1;
        }
        out.flush();
    }

    /// The cursor goes back to the first drawn line, and they are gone.
    pub(super) fn wipe(&mut self, out: &mut Out) {
        if self.drawn > 0 {
            out.text(format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}
