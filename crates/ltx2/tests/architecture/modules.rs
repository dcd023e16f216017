//! Modules of a crate import each other without cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

use crate::source::{Crate, ModulePath, display};

/// Imports between modules: importer → imported. An inline module counts as part of the module whose file it is in.
type Graph = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

/// Collects the modules that one module's code refers to, by `use` or by path. A public `use` is a re-export: it counts
/// only where the module itself uses the name.
struct Imports<'a> {
    source: &'a Crate,
    module: &'a ModulePath,
    found: BTreeSet<ModulePath>,
}

impl Imports<'_> {
    fn add(&mut self, path: &[String]) {
        if let Some(target) = self.source.resolve_from(self.module, path)
            && target != *self.module
        {
            self.found.insert(target);
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A lone module name is a local variable of that name: a module alone is neither a type nor a value.
        if !matches!(&segments[..], [only] if self.source.is_module(self.module, only)) {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }

    // `pub(super)` names a module without importing from it.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    // Submodules are visited on their own; tests may import whatever they test.
    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {}
}

fn import_graph(source: &Crate) -> Graph {
    let mut graph = Graph::new();
    for (module, contents) in &source.modules {
        let mut imports = Imports { source, module, found: BTreeSet::new() };
        for item in &contents.items {
            imports.visit_item(item);
        }
        for binding in contents.bindings.values().filter(|binding| !binding.is_reexport) {
            imports.add(&binding.path);
        }
        let files = imports.found.iter().map(|target| source.modules[target].file.clone());
        graph.entry(contents.file.clone()).or_default().extend(files.filter(|target| *target != contents.file));
    }
    graph
}

/// Returns the modules that can be reached from `start`.
fn reachable(graph: &Graph, start: &ModulePath) -> BTreeSet<ModulePath> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![start];
    while let Some(module) = pending.pop() {
        for imported in &graph[module] {
            if seen.insert(imported.clone()) {
                pending.push(imported);
            }
        }
    }
    seen
}

/// Returns a line for each import that is part of a cycle.
fn cycles(graph: &Graph) -> Vec<String> {
    let reach: BTreeMap<&ModulePath, _> = graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let edges = graph.iter().flat_map(|(from, imported)| imported.iter().map(move |to| (from, to)));
    edges
        .filter(|(from, to)| reach[to].contains(*from))
        .map(|(from, to)| format!("{} imports {}", display(from), display(to)))
        .collect()
}

#[test]
fn modules_have_no_import_cycles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for folder in ["crates", "tools"].map(|folder| root.join(folder)) {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.map(|entry| entry.unwrap().path()) {
            let Some(source) = Crate::read(&entry) else { continue };
            found.extend(cycles(&import_graph(&source)).into_iter().map(|line| format!("{}: {line}", source.name)));
        }
    }
    assert!(found.is_empty(), "import cycles:\n{}", found.join("\n"));
}

#[test]
fn a_cycle_through_a_reexport_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join("src").join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    write("lib.rs", "mod a; mod b; mod c; pub use a::A;");
    write("a.rs", "use crate::b::B; pub struct A(B);");
    write("b.rs", "use crate::c; pub struct B(Box<crate::A>, c::C);");
    write("c.rs", "pub struct C; #[cfg(test)] mod tests { use crate::A; }");
    let graph = import_graph(&Crate::read(folder.path()).unwrap());
    assert_eq!(cycles(&graph), ["a imports b", "b imports a"]);
}
