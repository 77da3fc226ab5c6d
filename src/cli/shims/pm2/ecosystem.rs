//! The names of the apps in an ecosystem file.
//!
//! JSON only: `ecosystem.config.js` is a program, and who runs it to learn a name has to bring Node along.

use std::io::Read;

use serde_json::Value;

use crate::cli::exit::Exit;

/// Bytes of such a file at most.
const FILE_MAX: u64 = 1 << 20;

/// Whether `word` looks like such a file rather than a program or a name.
pub(super) fn is_one(word: &str) -> bool {
    [".json", ".config.js", ".config.cjs", ".config.mjs", ".yml", ".yaml"]
        .iter()
        .any(|end| word.ends_with(end))
}

/// The names of its apps, in order.
pub(super) fn names(file: &str) -> Result<Vec<String>, (Exit, String)> {
    if is_one(file) && !file.ends_with(".json") {
        let why = format!(
            "cannot read {file}: only JSON is read here (`node -p 'JSON.stringify(require(\"./{file}\"))'` makes it), and of it the names: what is run is in the units"
        );
        return Err((Exit::Usage, why));
    }
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(FILE_MAX).read_to_string(&mut text))
        .map_err(|error| (Exit::Failed, format!("File {file} not found ({error})")))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| (Exit::Failed, format!("File {file} malformated: {error}")))?;
    let apps = value.get("apps").unwrap_or(&value);
    let apps = apps.as_array().map_or_else(|| vec![apps], |all| all.iter().collect());
    apps.into_iter()
        .map(|app| name(app).ok_or_else(|| (Exit::Failed, format!("{file} has an app without a name"))))
        .collect()
}

/// As pm2 names an app: by `name`, else by its script.
fn name(app: &Value) -> Option<String> {
    let text = |key: &str| app.get(key).and_then(Value::as_str);
    let script = || {
        let file = text("script").or_else(|| text("exec"))?.rsplit('/').next()?;
        file.rsplit_once('.').map_or(file, |(stem, _)| stem).to_owned().into()
    };
    text("name").map(str::to_owned).or_else(script)
}
