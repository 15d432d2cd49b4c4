//! One step: its fields, their limits and its condition.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    super::{
        condition::{Condition, ConditionSyntaxError},
        model::{Hosts, OnFailure, Step},
        node::{Entry, Node},
        rules,
    },
    Reader,
};

/// Most steps in one phase.
const STEPS_MAX: usize = 50;
/// Most secret names in one step.
const SECRETS_MAX: usize = 200;

const KEYS: [&str; 9] = [
    "name",
    "run",
    "timeout",
    "idle_timeout",
    "env",
    "secrets",
    "when",
    "on_failure",
    "on",
];

/// Where a step's commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Worker,
    Hosts,
}

impl Reader<'_> {
    pub(super) fn steps(&mut self, node: &Node, place: Place) -> Vec<Step> {
        let items = self.items(node, "a list of steps", STEPS_MAX);
        self.each_item(items.unwrap_or_default(), |reader, item| {
            Some(reader.step(item, place))
        })
    }

    fn step(&mut self, node: &Node, place: Place) -> Step {
        let mut step = Step {
            name: String::new(),
            run: String::new(),
            timeout: Step::TIMEOUT,
            idle_timeout: None,
            env: BTreeMap::new(),
            secrets: None,
            when: None,
            on_failure: OnFailure::default(),
            on: Hosts::default(),
        };
        if let Some(entries) = self.entries(node, "a step with name and run") {
            self.each_entry(entries, |reader, entry| {
                reader.step_field(entry, place, &mut step);
            });
            self.require(node.position, entries, "name");
            self.require(node.position, entries, "run");
        }
        step
    }

    fn step_field(&mut self, entry: &Entry, place: Place, step: &mut Step) {
        let value = &entry.value;
        match entry.key.as_str() {
            "name" => step.name = self.step_name(value).unwrap_or_default(),
            "run" => step.run = self.checked(value, rules::run).unwrap_or_default(),
            "timeout" => step.timeout = self.duration(value, STEP_TIME).unwrap_or_default(),
            "idle_timeout" => step.idle_timeout = self.duration(value, STEP_TIME),
            "env" => step.env = self.env(value),
            "secrets" => step.secrets = self.secrets(value),
            "when" => step.when = self.condition(value),
            "on_failure" => step.on_failure = self.choice(value, &ON_FAILURE).unwrap_or_default(),
            "on" if place == Place::Worker => self.fail(
                entry.key_position,
                "build steps run on the worker; only release and after steps choose hosts",
            ),
            "on" => step.on = self.choice(value, &HOSTS).unwrap_or_default(),
            _ => self.unknown_key(entry, &KEYS),
        }
    }

    fn step_name(&mut self, node: &Node) -> Option<String> {
        let name = self.checked(node, rules::step_name)?;
        let line = node.position.line;
        if let Some(first) = self.step_lines.get(&name) {
            let message = format!("another step has this name, in line {first}");
            self.fail(node.position, message);
        } else {
            self.step_lines.insert(name.clone(), line);
        }
        Some(name)
    }

    pub(super) fn env(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let entries = self.entries(node, "names with values, such as NODE_ENV: production");
        self.each_entry(entries.unwrap_or_default(), |reader, entry| {
            reader.check(entry.key_position, rules::env_name(&entry.key));
            if let Some(value) = reader.written(&entry.value) {
                reader.check(entry.value.position, rules::env_value(&value));
                env.insert(entry.key.clone(), value);
            }
        });
        env
    }

    fn secrets(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = self.items(node, "a list of secret names, [] for none", SECRETS_MAX)?;
        let names = self.each_item(items, |reader, item| {
            let name = reader.checked(item, rules::secret_name)?;
            Some((name, item.position))
        });
        Some(self.distinct(names))
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        let text = self.text(node)?;
        match text.parse() {
            Ok(condition) => Some(condition),
            Err(ConditionSyntaxError { column, message }) => {
                match node.position_inside(self.source, column - 1) {
                    Some(at) => self.fail(at, message),
                    None => {
                        let place = format!("in column {column} of the condition: {message}");
                        self.fail(node.position, place);
                    }
                }
                None
            }
        }
    }
}

const STEP_TIME: RangeInclusive<Duration> = Duration::from_millis(1)..=Step::TIMEOUT_MAX;

const ON_FAILURE: [(&str, OnFailure); 2] =
    [("fail", OnFailure::Fail), ("continue", OnFailure::Continue)];

const HOSTS: [(&str, Hosts); 2] = [("every", Hosts::Every), ("first", Hosts::First)];
