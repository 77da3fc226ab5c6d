//! The output of an exec: frames of eight bytes of head (stream, three zeroes, length) and what was written.
//!
//! What is kept is capped; what comes after that is read and counted, so that the process inside never blocks on us.

/// Bytes of each stream that are kept.
pub const KEPT_MAX: usize = 64 << 10;

/// Takes frames apart, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Frames {
    head: Vec<u8>,
    /// What is left of the frame that is being read, and which stream it belongs to.
    open: Option<(u8, usize)>,
    /// What was written to stdout.
    pub stdout: Vec<u8>,
    /// What was written to stderr.
    pub stderr: Vec<u8>,
    /// Bytes that came and were not kept.
    pub dropped: u64,
}

impl Frames {
    /// Takes the next bytes in.
    ///
    /// # Errors
    /// They are no frames.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if let Some((stream, left)) = self.open {
                let count = left.min(bytes.len());
                self.keep(stream, &bytes[..count]);
                bytes = &bytes[count..];
                self.open = Some((stream, left - count)).filter(|(_, left)| *left > 0);
                continue;
            }
            let count = (8 - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if let Ok(head) = <[u8; 8]>::try_from(self.head.as_slice()) {
                self.head.clear();
                self.open = open(head)?;
            }
        }
        Ok(())
    }

    /// Whether a frame is half there.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.open.is_some() || !self.head.is_empty()
    }

    /// The lines of stdout that are whole; what is left is kept for the next time. For streams.
    pub fn take_lines(&mut self) -> Vec<Vec<u8>> {
        let Some(end) = memchr::memrchr(b'\n', &self.stdout) else { return Vec::new() };
        let rest = self.stdout.split_off(end + 1);
        let whole = std::mem::replace(&mut self.stdout, rest);
        whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    fn keep(&mut self, stream: u8, bytes: &[u8]) {
        let into = if stream == 2 { &mut self.stderr } else { &mut self.stdout };
        let kept = bytes.len().min(KEPT_MAX.saturating_sub(into.len()));
        into.extend_from_slice(&bytes[..kept]);
        self.dropped += (bytes.len() - kept) as u64;
    }
}

fn open(head: [u8; 8]) -> Result<Option<(u8, usize)>, String> {
    let [stream, 0, 0, 0, length @ ..] = head else {
        return Err("a frame with an odd head".to_owned());
    };
    if stream > 2 {
        return Err(format!("a frame of stream {stream}, which is none"));
    }
    let length = u32::from_be_bytes(length) as usize;
    Ok(Some((stream, length)).filter(|(_, length)| *length > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Frames;
    use super::KEPT_MAX;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, text].concat()
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            parts in proptest::collection::vec((1_u8..=2, proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            step in 1_usize..20,
        ) {
            let bytes: Vec<u8> = parts.iter().flat_map(|(stream, text)| frame(*stream, text)).collect();
            let mut frames = Frames::default();
            for piece in bytes.chunks(step) {
                frames.take(piece).unwrap();
            }
            let all = |wanted| -> Vec<u8> {
                parts.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, text)| text.clone()).collect()
            };
            prop_assert!(!frames.is_torn());
            prop_assert_eq!(&frames.stdout, &all(1));
            prop_assert_eq!(&frames.stderr, &all(2));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frames::default().take(&bytes);
        }
    }

    #[test]
    fn a_flood_is_read_to_its_end_and_not_kept() {
        let mut frames = Frames::default();
        for _ in 0..40 {
            frames.take(&frame(1, &[b'x'; 10_000])).unwrap();
        }
        assert_eq!((frames.stdout.len(), frames.dropped), (KEPT_MAX, 400_000 - KEPT_MAX as u64));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert!(Frames::default().take(b"HTTP/1.1").is_err());
        assert!(Frames::default().take(&[3, 0, 0, 0, 0, 0, 0, 1]).is_err());
        let mut torn = Frames::default();
        torn.take(&frame(1, b"abc")[..9]).unwrap();
        assert!(torn.is_torn());
    }

    #[test]
    fn lines_are_taken_when_they_are_whole() {
        let mut frames = Frames::default();
        frames.take(&frame(1, b"one\ntw")).unwrap();
        assert_eq!(frames.take_lines(), [b"one".to_vec()]);
        frames.take(&frame(1, b"o\n\n")).unwrap();
        assert_eq!(frames.take_lines(), [b"two".to_vec()]);
        assert!(frames.take_lines().is_empty());
    }
}
