//! Configuration files, read whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Source;

/// A configuration is text by hand: what is larger was named by mistake (a disk, a log).
const LARGEST: u64 = 16 * 1024 * 1024;

/// The file, then `conf.d/*.toml` beside it in name order; `conf.d` may be absent. The error is one sentence.
pub fn read_sources(path: &Path) -> Result<Vec<Source>, String> {
    let mut sources = vec![read(path)?];
    let folder = path.parent().unwrap_or(Path::new("")).join("conf.d");
    for path in parts(&folder)? {
        sources.push(read(&path)?);
    }
    Ok(sources)
}

fn parts(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(wrong)?.path();
        // Editors leave .name.toml behind; nobody means those.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Source, String> {
    let wrong = |why: String| format!("cannot read {}: {why}", path.display());
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !size.is_file() {
        return Err(wrong("not a file".to_owned()));
    }
    if size.len() > LARGEST {
        return Err(wrong(format!("larger than {} MB", LARGEST / 1024 / 1024)));
    }
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or(&[]);
        wrong(format!("not UTF-8 in line {}", before.iter().filter(|b| **b == b'\n').count() + 1))
    })?;
    Ok(Source { path: path.to_owned(), text })
}
