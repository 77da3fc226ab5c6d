//! Who waits for an answer to which command.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::lifecycle::action::Outcome;
use crate::lifecycle::event::JobId;
use crate::lifecycle::state::UnitView;
use crate::runtime::handle::JobNote;

/// Commands that have not been answered in full.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    open: BTreeMap<JobId, UnboundedSender<JobNote>>,
}

impl Jobs {
    /// A command has come; its answers go to `notes`.
    pub(super) fn open(&mut self, id: JobId, notes: UnboundedSender<JobNote>) {
        self.open.insert(id, notes);
    }

    /// One of its units is decided. That nobody listens any more is no reason to stop the job.
    pub(super) fn answer(&self, id: JobId, outcome: Outcome, view: Option<Arc<UnitView>>) {
        if let Some(notes) = self.open.get(&id) {
            let _ = notes.send(JobNote::Answer { outcome, view });
        }
    }

    /// All of them are.
    pub(super) fn close(&mut self, id: JobId) {
        if let Some(notes) = self.open.remove(&id) {
            let _ = notes.send(JobNote::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::Jobs;
    use crate::lifecycle::action::Outcome;
    use crate::lifecycle::event::JobId;
    use crate::runtime::handle::JobNote;
    use crate::units::name::UnitName;

    #[test]
    fn answers_go_to_who_asked_and_end_with_done() {
        let (notes, mut answers) = unbounded_channel();
        let (other, mut others) = unbounded_channel();
        let mut jobs = Jobs::default();
        let id = JobId(1);
        jobs.open(id, notes);
        jobs.open(JobId(2), other);
        let outcome = Outcome {
            unit: UnitName::new("web").unwrap(),
            ok: true,
            why: String::new(),
            said: String::new(),
        };
        jobs.answer(id, outcome.clone(), None);
        jobs.close(id);
        jobs.answer(id, outcome, None);
        assert!(matches!(answers.try_recv(), Ok(JobNote::Answer { .. })));
        assert!(matches!(answers.try_recv(), Ok(JobNote::Done)));
        assert!(answers.try_recv().is_err());
        assert!(others.try_recv().is_err());
    }

    #[test]
    fn a_job_goes_on_when_nobody_listens() {
        let (notes, answers) = unbounded_channel();
        drop(answers);
        let mut jobs = Jobs::default();
        let id = JobId(1);
        jobs.open(id, notes);
        jobs.close(id);
    }
}
