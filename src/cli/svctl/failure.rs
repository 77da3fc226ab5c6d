//! Why a verb did not do what it was asked, and which exit status says so.

use crate::cli::exit::Exit;
use crate::cli::svctl::session::Session;
use crate::client::error::Error;

/// A verb that ends early.
#[derive(Debug)]
pub(in crate::cli) enum Failure {
    /// The supervisor was not reached or said no.
    Client(Error),
    /// This, in these words.
    Said(Exit, String),
}

impl Failure {
    pub(in crate::cli) fn usage(text: impl Into<String>) -> Self {
        Self::Said(Exit::Usage, text.into())
    }

    pub(in crate::cli) fn failed(text: impl Into<String>) -> Self {
        Self::Said(Exit::Failed, text.into())
    }

    pub(in crate::cli) fn exit(&self) -> Exit {
        match self {
            Self::Said(exit, _) => *exit,
            Self::Client(Error::Unreachable { .. } | Error::Lost { .. }) => Exit::NoSupervisor,
            Self::Client(Error::Denied { .. }) => Exit::NotPermitted,
            Self::Client(Error::TimedOut) => Exit::TimedOut,
            Self::Client(Error::Protocol { .. }) => Exit::Failed,
            Self::Client(Error::Refused { refusal, .. }) => match refusal.error.as_str() {
                "no_such_unit" => Exit::NoSuchUnit,
                "not_permitted" => Exit::NotPermitted,
                "bad_request" => Exit::Usage,
                "bad_configuration" => Exit::BadConfiguration,
                _ => Exit::Failed,
            },
        }
    }

    /// Says it on stderr and gives the status.
    pub(in crate::cli) fn tell(&self, session: &mut Session) -> Exit {
        let text = match self {
            Self::Client(error) => error.to_string(),
            Self::Said(_, text) => text.clone(),
        };
        session.out.flush();
        if !text.is_empty() {
            session.err.line(format!("svctl: {text}"));
        }
        self.exit()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}
