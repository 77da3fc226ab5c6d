//! Whether the files of a unit are still what was read of them. Looked at when somebody asks, never by itself.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::runtime::handle::SourceText;
use crate::units::name::UnitName;

/// Something else lies there than `texts`, the files of `unit`, among `paths`, where files are looked for.
#[must_use]
pub fn differs(unit: &UnitName, texts: &[SourceText], paths: &[PathBuf]) -> bool {
    let file = format!("{}.toml", unit.parts().0);
    let is_known = |path: &Path| texts.iter().any(|text| text.path == path);
    let is_new = |path: &PathBuf| {
        let path = path.join(&file);
        !is_known(&path) && path.is_file()
    };
    texts.iter().any(is_other) || (!texts.is_empty() && paths.iter().any(is_new))
}

/// What cannot be looked at is taken for what it was.
fn is_other(text: &SourceText) -> bool {
    let meta = match fs::metadata(&text.path) {
        Ok(meta) => meta,
        Err(error) => return error.kind() == ErrorKind::NotFound,
    };
    let length = text.text.len();
    if !meta.is_file() || usize::try_from(meta.size()).unwrap_or(usize::MAX) != length {
        return true;
    }
    let mut bytes = Vec::with_capacity(length + 1);
    let limit = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
    match fs::File::open(&text.path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => bytes != text.text.as_bytes(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_text_another_layer_and_no_file_differ() {
        let dir = tempfile::tempdir().unwrap();
        let (path, over) = (dir.path().join("web.toml"), dir.path().join("over"));
        fs::create_dir(&over).unwrap();
        fs::write(&path, "one").unwrap();
        let texts = [SourceText { path: path.clone(), text: "one".to_owned() }];
        let paths = [dir.path().to_owned(), over.clone()];
        let differs = || differs(&UnitName::new("web").unwrap(), &texts, &paths);
        assert!(!differs());
        fs::write(&path, "two").unwrap();
        assert!(differs());
        fs::write(&path, "one").unwrap();
        assert!(!differs());
        fs::write(over.join("web.toml"), "more").unwrap();
        assert!(differs());
        fs::remove_file(over.join("web.toml")).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(differs());
    }
}
