//! Follows the engine's events, so that a container that starts, ends, is paused or renamed is known when it happens.
//!
//! One task for all services. What it hears wakes every watch, which lists its containers again, and has the gateway look names up
//! again: the engine's name server knows of a container before the engine tells that it has started. The gateway does not go by the
//! engine's own addresses: a container has one in each of its networks, and which of them the gateway can reach is not said there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::manager::gate::Gate;
use crate::manager::reach::engine::Engine;
use crate::manager::reach::fault::Fault;
use crate::manager::repair::Say;

/// Before a stream that has ended is opened again: the first time, and at most. Meanwhile containers are listed from time to time.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Who listens to one engine.
pub(super) struct Ears {
    pub(super) engine: Arc<Engine>,
    pub(super) gate: Gate,
    pub(super) say: Say,
}

impl Ears {
    /// Listens until it is aborted.
    pub(super) async fn run(self) {
        let mut pause = AGAIN_MIN;
        // What was said last, so that an engine that is away is a line and not one each time.
        let mut said = String::new();
        loop {
            let words = match self.listen(&mut pause, &mut said).await {
                Ok(()) => "the engine's events have ended".to_owned(),
                Err(fault) => format!("cannot follow the engine's events: {fault}"),
            };
            if said != words {
                (self.say)(&words);
                said = words;
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// From one opening of the stream to its end.
    async fn listen(&self, pause: &mut Duration, said: &mut String) -> Result<(), Fault> {
        let mut happenings = self.engine.events().await?;
        if !said.is_empty() {
            (self.say)("the engine's events are followed again");
            said.clear();
        }
        self.gate.look_up();
        while let Some(happening) = happenings.next().await? {
            *pause = AGAIN_MIN;
            if self.engine.happened(&happening) {
                self.gate.look_up();
            }
        }
        Ok(())
    }
}
