//! Puts the settings together: defaults, then a file, then the environment.
//!
//! Loading is a pure function of the files and of a given environment; [`environment`] is the one
//! place in the workspace that reads the real one. Ranges and what depends on what are `check`'s
//! work, since `slipway up` fills in values between the two.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use config::{ConfigError, File, FileFormat, Map, Source as _, Value, ValueKind};

use super::{
    Settings,
    convert::at,
    layer::{Layer, put},
    problem::{Problem, SettingsError},
    schema::Schema,
};

const DEFAULTS: &str = include_str!("../../../../../config/default.yaml");
const SYSTEM_DIR: &str = "/etc/slipway";
/// The sections that are absent unless some source has them.
const OPTIONAL_SECTIONS: [&str; 3] = ["redis", "smtp", "oidc"];

/// Where settings files are looked for.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file given with `--config`, instead of the one that `SLIPWAY_ENV` names.
    pub config: Option<PathBuf>,
    /// The folder that has a `config` folder in it: the current one.
    pub dir: PathBuf,
}

/// The environment of this process, without what is not valid UTF-8.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let variables = env::vars_os();
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    variables.filter_map(text).collect()
}

/// Reads the settings from the defaults, the file that `source` and `SLIPWAY_ENV` select, and `env`.
///
/// The result still has to pass [`Settings::check`].
///
/// # Errors
///
/// When the file cannot be read, or with every setting that is unknown or of the wrong type.
pub fn load(source: &Source, env: &BTreeMap<String, String>) -> Result<Settings, SettingsError> {
    let defaults = parse(Path::new("config/default.yaml"), DEFAULTS)?;
    let schema = Schema::of(&defaults);
    let mut layers = Vec::new();
    if let Some(path) = file(source, env)? {
        let read = fs::read_to_string(&path);
        let text = read.map_err(|source| SettingsError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let content = parse(&path, &text)?;
        layers.push(Layer::from_file(
            &schema,
            &path.display().to_string(),
            content,
            env,
        ));
    }
    layers.push(Layer::from_environment(&schema, env));
    let mut problems: Vec<_> = layers
        .iter()
        .flat_map(|layer| layer.problems.clone())
        .collect();
    // The files' keys come in no order of their own.
    problems.sort_by_cached_key(ToString::to_string);
    if !problems.is_empty() {
        return Err(SettingsError::Invalid(problems));
    }
    // The defaults are final: nothing in them stands for a variable.
    let bottom = Layer::from_file(&schema, "the defaults", defaults, &BTreeMap::new());
    assemble(bottom, layers)
}

fn assemble(bottom: Layer, layers: Vec<Layer>) -> Result<Settings, SettingsError> {
    let mut values = bottom.values;
    for optional in OPTIONAL_SECTIONS {
        if !layers.iter().any(|layer| layer.sections.contains(optional)) {
            values.retain(|key, _| key.split('.').next() != Some(optional));
        }
    }
    for (key, value) in layers.into_iter().flat_map(|layer| layer.values) {
        let section = key.split('.').next().unwrap_or_default();
        // An empty variable alone does not bring an optional section into being.
        if !OPTIONAL_SECTIONS.contains(&section) || values.contains_key(&key) {
            put(&mut values, &key, value);
        }
    }
    let origins: BTreeMap<String, String> = values
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.origin()?.to_owned())))
        .collect();
    let deserialized = at(None, nested(values)).try_deserialize();
    deserialized.map_err(|error| SettingsError::Invalid(vec![misfit(error, &origins)]))
}

/// The settings file, if one is asked for.
fn file(source: &Source, env: &BTreeMap<String, String>) -> Result<Option<PathBuf>, SettingsError> {
    if let Some(path) = &source.config {
        return Ok(Some(path.clone()));
    }
    let Some(environment) = env.get("SLIPWAY_ENV").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !environment.chars().all(allowed) {
        return Err(SettingsError::Environment(environment.clone()));
    }
    let name = format!("{environment}.yaml");
    let first = source.dir.join("config").join(&name);
    let second = Path::new(SYSTEM_DIR).join(&name);
    let found = [&first, &second]
        .into_iter()
        .find(|path| path.exists())
        .cloned();
    match found {
        Some(path) => Ok(Some(path)),
        None => Err(SettingsError::NoFile {
            environment: environment.clone(),
            first,
            second,
        }),
    }
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, SettingsError> {
    let parsed = File::from_str(text, FileFormat::Yaml).collect();
    parsed.map_err(|source| SettingsError::NotYaml {
        path: path.to_owned(),
        source,
    })
}

/// Full names back into sections.
fn nested(values: BTreeMap<String, Value>) -> Map<String, Value> {
    let mut top: Map<String, Value> = Map::new();
    for (key, value) in values {
        let Some((section, name)) = key.split_once('.') else {
            top.insert(key, value);
            continue;
        };
        let section = top
            .entry(section.to_owned())
            .or_insert_with(|| at(None, Map::<String, Value>::new()));
        if let ValueKind::Table(table) = &mut section.kind {
            table.insert(name.to_owned(), value);
        }
    }
    top
}

/// A number out of range, or a word that is not one of the known ones.
fn misfit(error: ConfigError, origins: &BTreeMap<String, String>) -> Problem {
    let origin = |key: &str| {
        origins
            .get(key)
            .map_or("the defaults", String::as_str)
            .to_owned()
    };
    if let ConfigError::Type {
        unexpected,
        expected,
        key: Some(key),
        ..
    } = error
    {
        let (origin, expected) = (origin(&key), expected.to_owned());
        return Problem::Type {
            key,
            origin,
            expected,
            found: unexpected.to_string(),
        };
    }
    if let ConfigError::At {
        error,
        key: Some(key),
        ..
    } = error
    {
        return Problem::Refused {
            reason: format!("{error} ({})", origin(&key)),
            key,
        };
    }
    Problem::Refused {
        key: "settings".to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
