//! The document and its sections other than steps.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    super::{
        error::Position,
        model::{Activate, Health, Pipeline},
        node::{Entry, Node, Value},
        rules,
        scalar::Kind,
    },
    Reader,
    step::Place,
};

/// Most paths that releases share.
const SHARED_MAX: usize = 50;

const KEYS: [&str; 8] = [
    "env",
    "build",
    "artifact",
    "release",
    "activate",
    "after",
    "health",
    "rollback_on_failure",
];

/// Ends the sentence about a document that does nothing.
const MINIMAL: &str = "a minimal one is: after: [{name: restart, run: ./restart.sh}]";

impl Reader<'_> {
    pub(super) fn document(&mut self, root: Option<&Node>) -> Pipeline {
        let mut pipeline = Pipeline {
            env: BTreeMap::new(),
            build: Vec::new(),
            artifact: None,
            release: Vec::new(),
            activate: Activate::default(),
            after: Vec::new(),
            health: None,
            rollback_on_failure: true,
            ships: false,
        };
        let Some(root) = root.filter(|root| !is_nothing(root)) else {
            self.fail(Position::START, format!("the document is empty; {MINIMAL}"));
            return pipeline;
        };
        let Some(entries) = self.entries(root, "a mapping with build, release or after") else {
            return pipeline;
        };
        self.each_entry(entries, |reader, entry| {
            reader.section(entry, &mut pipeline);
        });
        if self.errors.is_empty() && pipeline.steps().next().is_none() {
            self.fail(
                root.position,
                format!("the pipeline has no step; {MINIMAL}"),
            );
        }
        let is_written = |key: &str| entries.iter().any(|entry| entry.key == key);
        pipeline.ships = !pipeline.build.is_empty()
            || !pipeline.release.is_empty()
            || is_written("artifact")
            || is_written("activate");
        pipeline
    }

    fn section(&mut self, entry: &Entry, pipeline: &mut Pipeline) {
        let value = &entry.value;
        match entry.key.as_str() {
            "env" => pipeline.env = self.env(value),
            "build" => pipeline.build = self.steps(value, Place::Worker),
            "artifact" => pipeline.artifact = self.checked(value, rules::relative_path),
            "release" => pipeline.release = self.steps(value, Place::Hosts),
            "activate" => pipeline.activate = self.activate(value),
            "after" => pipeline.after = self.steps(value, Place::Hosts),
            "health" => pipeline.health = Some(self.health(value)),
            "rollback_on_failure" => {
                pipeline.rollback_on_failure = self.boolean(value).unwrap_or_default();
            }
            _ => self.unknown_key(entry, &KEYS),
        }
    }

    fn activate(&mut self, node: &Node) -> Activate {
        let mut activate = Activate::default();
        let entries = self.entries(node, "a mapping with keep and shared");
        self.each_entry(entries.unwrap_or_default(), |reader, entry| {
            match entry.key.as_str() {
                "keep" => activate.keep = reader.number(&entry.value, 1..=100).unwrap_or_default(),
                "shared" => activate.shared = reader.shared(&entry.value),
                _ => reader.unknown_key(entry, &["keep", "shared"]),
            }
        });
        activate
    }

    fn shared(&mut self, node: &Node) -> Vec<String> {
        let Some(items) = self.items(node, "a list of paths", SHARED_MAX) else {
            return Vec::new();
        };
        let paths = self.each_item(items, |reader, item| {
            let path = reader.checked(item, rules::relative_path)?;
            Some((path, item.position))
        });
        // A folder is shared whole: a second link inside it would replace a part of it.
        for (path, at) in &paths {
            if let Some((folder, _)) = paths.iter().find(|(other, _)| is_inside(path, other)) {
                let message = format!("the folder {folder:?} is shared already, with all in it");
                self.fail(*at, message);
            }
        }
        self.distinct(paths)
    }

    fn health(&mut self, node: &Node) -> Health {
        let mut health = Health::default();
        let Some(entries) = self.entries(node, "a mapping with url") else {
            return health;
        };
        self.each_entry(entries, |reader, entry| {
            reader.health_field(entry, &mut health);
        });
        self.require(node.position, entries, "url");
        health
    }

    fn health_field(&mut self, entry: &Entry, health: &mut Health) {
        let value = &entry.value;
        match entry.key.as_str() {
            "url" => health.url = self.checked(value, rules::http_url).unwrap_or_default(),
            "expect" => {
                let code = self.number(value, 100..=599);
                health.expect = code
                    .and_then(|code| code.try_into().ok())
                    .unwrap_or_default();
            }
            "attempts" => health.attempts = self.number(value, 1..=1000).unwrap_or_default(),
            "interval" => health.interval = self.duration(value, HEALTH_TIME).unwrap_or_default(),
            "timeout" => health.timeout = self.duration(value, HEALTH_TIME).unwrap_or_default(),
            _ => self.unknown_key(entry, &["url", "expect", "attempts", "interval", "timeout"]),
        }
    }
}

const HEALTH_TIME: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(10 * 60);

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.kind() == Kind::Null,
        Value::Sequence(_) | Value::Mapping(_) => false,
    }
}
