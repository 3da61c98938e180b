//! The files of the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    process::Command,
};

/// Every file by its path from the root, with `/` between names.
#[derive(Debug, Default)]
pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    /// Every path, folders and files that are not text included.
    paths: BTreeSet<String>,
}

/// Folders that hold nothing of the repository's own, where git cannot be asked.
const SKIPPED: [&str; 3] = [".git", "target", ".larder"];

impl Tree {
    /// The files that git knows or would add; without git, everything but build output.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        match known_to_git(root) {
            Some(paths) => paths.iter().try_for_each(|path| tree.read_file(root, path))?,
            None => tree.read_folder(root, "")?,
        }
        Ok(tree)
    }

    fn read_folder(&mut self, root: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(root.join(prefix))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !entry.file_type()?.is_dir() {
                self.read_file(root, &format!("{prefix}{name}"))?;
            } else if !SKIPPED.contains(&name.as_str()) {
                self.read_folder(root, &format!("{prefix}{name}/"))?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, root: &Path, path: &str) -> io::Result<()> {
        let file = root.join(path);
        // Git knows files that are deleted, but not yet from the index.
        if file.is_file() {
            if let Ok(text) = String::from_utf8(fs::read(file)?) {
                self.texts.insert(path.to_owned(), text);
            }
            self.add_path(path);
        }
        Ok(())
    }

    fn add_path(&mut self, path: &str) {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        self.paths.extend(ends.map(|end| path[..end].to_owned()));
    }

    /// A tree that is not on disk, for tests of the rules.
    #[cfg(test)]
    pub(super) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.texts.insert(path.to_owned(), text.to_owned());
            tree.add_path(path);
        }
        tree
    }

    /// The text files with this ending, as path and text.
    pub(super) fn texts<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(move |(path, _)| path.ends_with(ending))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path.trim_end_matches('/'))
    }

    /// A path as it is written in a file of this folder, from the root; `None` if it leads out of the tree.
    pub(super) fn resolve(folder: &str, path: &str) -> Option<String> {
        let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()?),
                name => names.push(name),
            }
        }
        Some(names.join("/"))
    }
}

fn known_to_git(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
    let paths = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let paths: Vec<String> = paths.split_terminator('\0').map(str::to_owned).collect();
    (!paths.is_empty()).then_some(paths)
}

/// The folder of a path; empty for a file at the root.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve_from_their_folder() {
        assert_eq!(Tree::resolve("docs/formats", "../a.md").as_deref(), Some("docs/a.md"));
        assert_eq!(Tree::resolve("", "./a.md").as_deref(), Some("a.md"));
        assert_eq!(Tree::resolve("docs", "../../a.md"), None);
        let tree = Tree::of([("docs/formats/a.md", "")]);
        assert!(tree.has("docs/formats/") && tree.has("docs/formats/a.md") && !tree.has("docs/a.md"));
    }
}
