//! What a client is told when the gateway itself has to answer: whose fault it was, and whether asking again is safe.

use std::io::Write as _;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The request is wrong.
    Client,
    /// The service did not answer as it should.
    Upstream,
    /// The gateway has no room, or is about to end.
    Ourselves,
}

impl Whose {
    /// As it is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Ourselves => "gateway",
        }
    }
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// No service has seen it.
    Safe,
    /// A service may have done what it asks for.
    Unknown,
    /// It would be answered in the same way.
    Useless,
}

impl Again {
    /// As it is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Unknown => "unknown",
            Self::Useless => "useless",
        }
    }
}

/// One error of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose it is.
    pub whose: Whose,
    /// The status of the answer.
    pub status: u16,
    /// What the client is told; nothing about the inside.
    pub detail: String,
    /// What the log is told besides.
    pub cause: String,
    /// Whether asking again is safe.
    pub again: Again,
}

/// Seconds after which a client may ask again.
const RETRY_AFTER: u64 = 1;

impl Fault {
    /// The request is wrong.
    #[must_use]
    pub fn client(status: u16, detail: impl Into<String>) -> Self {
        Self {
            whose: Whose::Client,
            status,
            detail: detail.into(),
            cause: String::new(),
            again: Again::Useless,
        }
    }

    /// The service is to blame.
    #[must_use]
    pub fn upstream(status: u16, detail: &str, cause: impl Into<String>, again: Again) -> Self {
        Self { whose: Whose::Upstream, status, detail: detail.to_owned(), cause: cause.into(), again }
    }

    /// We are to blame.
    #[must_use]
    pub fn ourselves(status: u16, detail: &str) -> Self {
        Self {
            whose: Whose::Ourselves,
            status,
            detail: detail.to_owned(),
            cause: String::new(),
            again: Again::Safe,
        }
    }

    /// Writes the lines that belong to this error, and the body that `id` is put into.
    pub fn write(&self, id: &str, lines: &mut Vec<u8>, body: &mut Vec<u8>) {
        let told = serde_json::json!({
            "title": reason(self.status),
            "status": self.status,
            "detail": self.detail,
            "fault": self.whose.as_str(),
            "retry": self.again.as_str(),
            "request_id": id,
        });
        // Writing to memory does not fail.
        let _ = writeln!(body, "{told}");
        let _ = write!(lines, "Content-Type: application/problem+json\r\nCache-Control: no-store\r\n");
        if self.status == 503 {
            let _ = write!(lines, "Retry-After: {RETRY_AFTER}\r\n");
        }
    }
}

/// The words for a status.
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
