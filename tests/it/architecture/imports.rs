//! The imports between the files of a crate, as its source says them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module below its crate, such as `["domain", "ledger"]`; the crate itself is empty.
type ModulePath = Vec<String>;

/// Each file with the files whose items it names, and the paths of those items.
type ImportEdges<'a> = BTreeMap<&'a Path, BTreeMap<&'a Path, BTreeSet<String>>>;

/// One source file: a module with what it names of others.
struct SourceFile {
    file: PathBuf,
    /// Each name that a `use` brings in, with the path that it stands for, relative to nothing.
    imports: BTreeMap<String, ModulePath>,
    /// The paths that the code names, those of its imports among them.
    named: BTreeSet<ModulePath>,
}

/// The files of a crate by module, without its tests.
pub struct CrateImports {
    modules: BTreeMap<ModulePath, SourceFile>,
}

impl CrateImports {
    /// Reads the source files below `source`, the folder of a crate's `lib.rs`.
    pub fn read(source: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut left = vec![(Vec::new(), source.join("lib.rs"))];
        while let Some((module, file)) = left.pop() {
            let code = code_of(&fs::read_to_string(&file).unwrap());
            let children = children(&code);
            let folder = module.iter().fold(source.to_owned(), |folder, name| folder.join(name));
            for child in &children {
                let candidates =
                    [folder.join(format!("{child}.rs")), folder.join(child).join("mod.rs")];
                let path: ModulePath = module.iter().cloned().chain([child.clone()]).collect();
                left.extend(
                    candidates.into_iter().find(|file| file.is_file()).map(|file| (path, file)),
                );
            }
            let file = file.strip_prefix(source).unwrap().to_owned();
            modules.insert(module.clone(), SourceFile::read(file, &module, &children, &code));
        }
        Self { modules }
    }

    /// The groups of files that import each other in a circle, each with the lines that say who
    /// takes what from whom.
    pub fn circles(&self) -> BTreeMap<BTreeSet<&Path>, Vec<String>> {
        let edges = self.edges();
        let reached: BTreeMap<_, _> =
            edges.keys().map(|file| (*file, reached_from(file, &edges))).collect();
        let mut circles: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (file, others) in &reached {
            let is_back =
                |other: &&Path| reached.get(other).is_some_and(|back| back.contains(file));
            let circle: BTreeSet<_> = others.iter().copied().filter(is_back).collect();
            if circle.len() > 1 {
                let inside = edges[file].iter().filter(|(used, _)| circle.contains(*used));
                let lines = inside.map(|(used, names)| {
                    format!("{} -> {}: {names:?}", file.display(), used.display())
                });
                let lines: Vec<_> = lines.collect();
                circles.entry(circle).or_default().extend(lines);
            }
        }
        circles
    }

    /// Each file with the files whose items it names, and those items.
    fn edges(&self) -> ImportEdges<'_> {
        let mut edges = ImportEdges::new();
        for source in self.modules.values() {
            let used: &mut BTreeMap<_, BTreeSet<_>> =
                edges.entry(source.file.as_path()).or_default();
            for path in &source.named {
                if let Some(definer) =
                    self.definer(path, 0).filter(|definer| definer.file != source.file)
                {
                    used.entry(definer.file.as_path()).or_default().insert(path.join("::"));
                }
            }
        }
        edges
    }

    /// The file that defines what a path names, through whatever hands it on; none where it names a
    /// module.
    fn definer(&self, path: &[String], depth: usize) -> Option<&SourceFile> {
        let length =
            (0..path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        if self.modules.contains_key(path) {
            return None;
        }
        let module = &self.modules[&path[..length]];
        match module.imports.get(&path[length]) {
            Some(handed_on) if depth < 8 => {
                let whole: ModulePath =
                    handed_on.iter().chain(&path[length + 1..]).cloned().collect();
                self.definer(&whole, depth + 1)
            }
            _ => Some(module),
        }
    }
}

fn reached_from<'a>(file: &'a Path, edges: &ImportEdges<'a>) -> BTreeSet<&'a Path> {
    let mut reached = BTreeSet::new();
    let mut left = vec![file];
    while let Some(file) = left.pop() {
        left.extend(
            edges
                .get(file)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .copied()
                .filter(|next| reached.insert(*next)),
        );
    }
    reached
}

impl SourceFile {
    fn read(file: PathBuf, module: &[String], children: &[String], code: &str) -> Self {
        let (uses, rest) = split_uses(code);
        let mut imports = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (is_handed_on, tree) in &uses {
            for (path, name) in paths_of(tree) {
                let Some(path) = absolute(&path, module, children, &BTreeMap::new()) else {
                    continue;
                };
                if !is_handed_on || words(&rest).any(|word| word == name) {
                    named.insert(path.clone());
                }
                imports.insert(name, path);
            }
        }
        for path in inline_paths(&rest) {
            named.extend(absolute(&path, module, children, &imports));
        }
        Self { file, imports, named }
    }
}

/// A path as it is written in `module`, from the crate on; none where it leads to another crate.
fn absolute(
    path: &[String],
    module: &[String],
    children: &[String],
    imports: &BTreeMap<String, ModulePath>,
) -> Option<ModulePath> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let above = rest.iter().take_while(|name| *name == "super").count();
            let kept = module.len().checked_sub(1 + above)?;
            Some([&module[..kept], &rest[above..]].concat())
        }
        _ if children.contains(first) => Some([module, path].concat()),
        _ => imports.get(first).map(|import| [import, rest].concat()),
    }
}

/// The source without comments, texts and tests.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut code = String::new();
    for line in text.lines() {
        let mut is_text = false;
        let mut before = ' ';
        let mut rest = line.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '\\' if is_text => drop(rest.next()),
                '"' if before != '\'' => is_text = !is_text,
                '/' if !is_text && rest.peek() == Some(&'/') => break,
                _ if is_text => {}
                letter => code.push(letter),
            }
            before = letter;
        }
        code.push('\n');
    }
    code
}

/// The modules that a file declares, without those of tests.
fn children(code: &str) -> Vec<String> {
    let mut children = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        let declared = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod "));
        if let Some((before, name)) = declared
            && !is_test
            && (before.is_empty() || before.starts_with("pub"))
        {
            children.push(name.to_owned());
        }
        is_test = line.starts_with("#[cfg(test)]") || (is_test && line.starts_with("#["));
    }
    children
}

/// The trees of the `use` statements, each with whether it hands names on, and the code without
/// them.
fn split_uses(code: &str) -> (Vec<(bool, String)>, String) {
    let mut uses = Vec::new();
    let mut rest = String::new();
    let mut open: Option<(bool, String)> = None;
    for line in code.lines() {
        let start = line.trim_start();
        let statement = start
            .split_once("use ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        match (&mut open, statement) {
            (Some((_, tree)), _) => tree.push_str(start),
            (None, Some((before, tree))) => open = Some((!before.is_empty(), tree.to_owned())),
            (None, None) => {
                // The scope of a visibility is no import.
                let line = line
                    .split("pub(in ")
                    .map(|part| part.split_once(") ").map_or(part, |(_, after)| after));
                rest.push_str(&line.collect::<String>());
                rest.push('\n');
            }
        }
        uses.extend(open.take_if(|(_, tree)| tree.ends_with(';')));
    }
    (uses, rest)
}

/// The paths of a `use` tree, each with the name that it brings in.
fn paths_of(tree: &str) -> Vec<(ModulePath, String)> {
    let tree = tree.trim().trim_end_matches(';').trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let (path, alias) = tree
            .split_once(" as ")
            .map_or((tree, None), |(path, alias)| (path, Some(alias.to_owned())));
        let path: ModulePath =
            path.split("::").map(str::to_owned).filter(|name| name != "*").collect();
        let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
        return vec![(path, name)];
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let mut paths = Vec::new();
    let mut depth = 0;
    let is_between = |letter: char| {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        letter == ',' && depth == 0
    };
    for part in group.split(is_between).map(str::trim).filter(|part| !part.is_empty()) {
        let part = if part == "self" { "" } else { part };
        let whole = format!("{prefix}{part}");
        paths.extend(paths_of(whole.trim_end_matches("::")));
    }
    paths
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

/// The paths of more than one name that stand in code.
fn inline_paths(code: &str) -> BTreeSet<ModulePath> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let written = code.split(|letter: char| !is_part(letter)).filter(|path| path.contains("::"));
    let paths = written.map(|path| {
        path.split("::").map(|name| name.trim_matches(':').to_owned()).collect::<Vec<_>>()
    });
    paths.filter(|path| path.len() > 1 && !path[0].is_empty()).collect()
}
