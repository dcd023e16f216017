//! Modules of a crate, read from its source files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Path of a module below the crate root, which has no segments.
pub type ModulePath = Vec<String>;

/// Returns the path as it is written in code.
pub fn display(module: &ModulePath) -> String {
    if module.is_empty() { "the crate root".into() } else { module.join("::") }
}

/// Modules of a crate without those for tests.
pub struct Crate {
    pub name: String,
    pub modules: BTreeMap<ModulePath, Module>,
}

/// Contents of a module.
#[derive(Default)]
pub struct Module {
    /// The module whose file this one is written in: itself, unless it is inline.
    pub file: ModulePath,
    /// Items other than imports and modules.
    pub items: Vec<syn::Item>,
    /// Names of those items.
    pub names: BTreeSet<String>,
    /// Names that the module imports.
    pub bindings: BTreeMap<String, Binding>,
    /// Paths of glob imports.
    pub globs: Vec<Vec<String>>,
}

/// A name that a module imports.
pub struct Binding {
    pub path: Vec<String>,
    pub is_reexport: bool,
}

impl Crate {
    /// Reads the crate in `folder`; `None` if there is none.
    pub fn read(folder: &Path) -> Option<Self> {
        let root =
            ["lib.rs", "main.rs"].map(|name| folder.join("src").join(name)).into_iter().find(|file| file.exists())?;
        let name = folder.file_name()?.to_string_lossy().into_owned();
        let mut source = Self { name, modules: BTreeMap::new() };
        source.read_file(&root, &folder.join("src"), Vec::new());
        Some(source)
    }

    /// Reads the module `path` from `file`; files of its submodules are in `folder`.
    fn read_file(&mut self, file: &Path, folder: &Path, path: ModulePath) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(parsed.items, folder, path.clone(), path);
    }

    fn read_items(&mut self, items: Vec<syn::Item>, folder: &Path, path: ModulePath, file: ModulePath) {
        let mut module = Module { file: file.clone(), ..Module::default() };
        for item in items {
            match item {
                syn::Item::Mod(item) if is_for_tests(&item.attrs) => {}
                syn::Item::Mod(item) => self.read_submodule(item, folder, &path, &file),
                syn::Item::Use(item) => {
                    let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
                    module.import(&item.tree, &mut Vec::new(), is_reexport);
                }
                item if is_for_tests(attributes(&item)) => {}
                item => {
                    module.names.extend(name(&item));
                    module.items.push(item);
                }
            }
        }
        self.modules.insert(path, module);
    }

    fn read_submodule(&mut self, item: syn::ItemMod, folder: &Path, parent: &ModulePath, file: &ModulePath) {
        let name = item.ident.to_string();
        let path: ModulePath = parent.iter().cloned().chain([name.clone()]).collect();
        let below = folder.join(&name);
        match item.content {
            Some((_, items)) => self.read_items(items, &below, path, file.clone()),
            None => self.read_file(&file_of(&item.attrs, folder, &name), &below, path),
        }
    }

    /// Returns the module that defines what `path` means in the code of `module`; `None` if that is outside the crate.
    pub fn resolve_from(&self, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
        self.resolve(module, path, 0)
    }

    /// Whether `name` is a submodule of `module`.
    pub fn is_module(&self, module: &ModulePath, name: &str) -> bool {
        let child: ModulePath = module.iter().cloned().chain([name.to_owned()]).collect();
        self.modules.contains_key(&child)
    }

    fn resolve(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&Vec::new(), rest, depth),
            "self" => self.descend(module, rest, depth),
            "super" => self.descend(&parent(module), rest, depth),
            "Self" => None,
            _ => self.look_up(module, path, depth),
        }
    }

    /// Follows `path` down from `module`, whose own item an empty path means.
    fn descend(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        match path.split_first() {
            None => Some(module.clone()),
            Some((first, rest)) if first == "super" => self.descend(&parent(module), rest, depth),
            Some(_) => self.look_up(module, path, depth),
        }
    }

    fn look_up(&self, module: &ModulePath, path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let contents = self.modules.get(module)?;
        let child: ModulePath = module.iter().cloned().chain([first.clone()]).collect();
        if self.modules.contains_key(&child) {
            return self.descend(&child, rest, depth);
        }
        if contents.names.contains(first) {
            return Some(module.clone());
        }
        // Deep enough for every chain of re-exports; a name that imports itself ends here.
        if depth > 16 {
            return None;
        }
        if let Some(binding) = contents.bindings.get(first) {
            let path: Vec<String> = binding.path.iter().chain(rest).cloned().collect();
            return if binding.path[0] == *first { None } else { self.resolve(module, &path, depth + 1) };
        }
        contents.globs.iter().find_map(|glob| {
            let path: Vec<String> = glob.iter().chain(path).cloned().collect();
            self.resolve(module, &path, depth + 1).filter(|target| self.defines(target, first))
        })
    }

    fn defines(&self, module: &ModulePath, name: &str) -> bool {
        self.modules.get(module).is_some_and(|contents| contents.names.contains(name))
    }
}

impl Module {
    fn import(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>, is_reexport: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, is_reexport);
                prefix.pop();
            }
            syn::UseTree::Name(name) => self.bind(name.ident.to_string(), &name.ident, prefix, is_reexport),
            syn::UseTree::Rename(name) => self.bind(name.rename.to_string(), &name.ident, prefix, is_reexport),
            syn::UseTree::Glob(_) => self.globs.push(prefix.clone()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix, is_reexport));
            }
        }
    }

    fn bind(&mut self, name: String, ident: &syn::Ident, prefix: &[String], is_reexport: bool) {
        let ident = ident.to_string();
        let mut path = prefix.to_vec();
        let name = match (ident.as_str(), prefix.last()) {
            // `use a::b::{self}` binds b.
            ("self", Some(last)) if name == "self" => last.clone(),
            ("self", Some(_)) => name,
            _ => {
                path.push(ident);
                name
            }
        };
        // Several traits may be imported without a name.
        let name = if name == "_" { format!("_{}", self.bindings.len()) } else { name };
        self.bindings.insert(name, Binding { path, is_reexport });
    }
}

fn parent(module: &ModulePath) -> ModulePath {
    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

fn file_of(attributes: &[syn::Attribute], folder: &Path, name: &str) -> PathBuf {
    let explicit = attributes.iter().find(|attribute| attribute.path().is_ident("path"));
    if let Some(attribute) = explicit
        && let syn::Meta::NameValue(value) = &attribute.meta
        && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &value.value
    {
        return folder.join(text.value());
    }
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
