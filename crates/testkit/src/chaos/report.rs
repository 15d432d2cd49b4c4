//! What a run has shown: figures, violations, and how they are printed and kept.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    checker::{Kind, Violation},
    faults::Fault,
    html,
    nemesis::Struck,
    recovery::{Recoveries, quantile},
};

/// Violations of one kind that are told one by one.
const TOLD: usize = 20;

/// One kind of fault in figures; times in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct FaultFigures {
    /// Its name.
    pub fault: &'static str,
    /// How often it happened.
    pub struck: usize,
    /// How many recoveries could be measured.
    pub recoveries: usize,
    /// Half of them took no longer.
    pub p50: f64,
    /// Nearly all of them took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// What is promised.
    pub bound: f64,
    /// Each of them, shortest first.
    pub times: Vec<f64>,
}

/// One fault that happened; times in seconds since the first.
#[derive(Clone, Debug, Serialize)]
pub struct StrikeFigures {
    /// Its name.
    pub fault: &'static str,
    /// When it began.
    pub began: f64,
    /// How long it lasted.
    pub lasted: f64,
    /// What else there is to say.
    pub detail: String,
}

/// A number with its name, such as how many were accepted.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// The result of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// How it was asked for.
    pub options: BTreeMap<&'static str, String>,
    /// What came out.
    pub figures: Figures,
    /// What was done to it.
    pub faults: Vec<FaultFigures>,
    /// Each of them, in order.
    pub strikes: Vec<StrikeFigures>,
    /// How many violations there are of each kind, zero included.
    pub counts: BTreeMap<&'static str, usize>,
    /// The violations themselves, some of each kind.
    pub violations: Vec<String>,
}

impl Report {
    /// Puts a result together.
    #[must_use]
    pub fn new(
        scenario: &'static str,
        options: BTreeMap<&'static str, String>,
        figures: Figures,
        violations: &[Violation],
    ) -> Self {
        let count = |kind: Kind| violations.iter().filter(|it| it.kind == kind).count();
        let told = Kind::ALL.into_iter().flat_map(|kind| {
            let of_kind = violations.iter().filter(move |it| it.kind == kind);
            of_kind.take(TOLD).map(ToString::to_string)
        });
        Self {
            scenario,
            options,
            figures,
            faults: Vec::new(),
            strikes: Vec::new(),
            counts: Kind::ALL
                .into_iter()
                .map(|kind| (kind.name(), count(kind)))
                .collect(),
            violations: told.collect(),
        }
    }

    /// Whether no promise was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.values().all(|count| *count == 0)
    }

    /// Writes `report.json` and `report.html`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(reports: &[Self], folder: &Path) -> anyhow::Result<()> {
        let context = || format!("writing to {}", folder.display());
        fs::create_dir_all(folder).with_context(context)?;
        let json = serde_json::to_string_pretty(reports)?;
        fs::write(folder.join("report.json"), json + "\n").with_context(context)?;
        fs::write(folder.join("report.html"), html::page(reports)).with_context(context)
    }

    /// The result as a table for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("\n{}\n", self.scenario);
        for (name, value) in &self.figures {
            let _infallible = writeln!(text, "  {name:<40} {value:>12.1}");
        }
        if !self.faults.is_empty() {
            let _infallible = writeln!(
                text,
                "\n  {:<18} {:>7} {:>10} {:>8} {:>8} {:>8} {:>8}",
                "fault", "struck", "recoveries", "p50 s", "p99 s", "max s", "bound s"
            );
        }
        for it in &self.faults {
            let _infallible = writeln!(
                text,
                "  {:<18} {:>7} {:>10} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
                it.fault, it.struck, it.recoveries, it.p50, it.p99, it.max, it.bound
            );
        }
        text.push('\n');
        for (name, count) in &self.counts {
            let _infallible = writeln!(text, "  {name:<40} {count:>12}");
        }
        for violation in &self.violations {
            let _infallible = writeln!(text, "  VIOLATION {violation}");
        }
        let verdict = if self.is_clean() {
            "no violation"
        } else {
            "VIOLATIONS"
        };
        let _infallible = writeln!(text, "  => {verdict}");
        text
    }
}

/// The figures of every kind of fault that happened.
#[must_use]
pub(crate) fn fault_figures(
    struck: &BTreeMap<Fault, usize>,
    recoveries: &Recoveries,
    lease: Duration,
) -> Vec<FaultFigures> {
    let figures = |(fault, struck): (&Fault, &usize)| {
        let times = recoveries.get(fault).map(Vec::as_slice).unwrap_or_default();
        let share = |share| quantile(times, share).as_secs_f64();
        FaultFigures {
            fault: fault.name(),
            struck: *struck,
            recoveries: times.len(),
            p50: share(0.5),
            p99: share(0.99),
            max: share(1.0),
            bound: fault.bound(lease).as_secs_f64(),
            times: times.iter().map(Duration::as_secs_f64).collect(),
        }
    };
    struck.iter().map(figures).collect()
}

/// Every fault in order.
#[must_use]
pub(crate) fn strike_figures(struck: &[Struck]) -> Vec<StrikeFigures> {
    let first = struck.first().map(|it| it.began_ns).unwrap_or_default();
    let seconds = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from)).as_secs_f64();
    let figures = struck.iter().map(|it| StrikeFigures {
        fault: it.fault.name(),
        began: seconds(first, it.began_ns),
        lasted: seconds(it.began_ns, it.over_ns),
        detail: it.detail.clone(),
    });
    figures.collect()
}

/// Recoveries that took longer than promised. One in a hundred may be the machine's own hiccup.
#[must_use]
pub(crate) fn late(faults: &[FaultFigures]) -> Vec<Violation> {
    let late = faults.iter().filter(|it| it.p99 > it.bound);
    let told = late.map(|it| Violation {
        kind: Kind::Late,
        text: format!(
            "{}: 99 of 100 recoveries took up to {:.2} s, promised are {:.2} s",
            it.fault, it.p99, it.bound
        ),
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(violations: &[Violation]) -> Report {
        let mut report = Report::new("faults", BTreeMap::new(), Figures::new(), violations);
        let second = Duration::from_secs(1);
        let times = Recoveries::from([(Fault::RedisFlush, vec![second, second * 2])]);
        let struck = BTreeMap::from([(Fault::RedisFlush, 2), (Fault::ApiKill, 1)]);
        report.faults = fault_figures(&struck, &times, second * 3);
        report
    }

    #[test]
    fn one_violation_spoils_a_run_and_is_told() {
        assert!(report(&[]).is_clean());
        let stuck = Violation {
            kind: Kind::Stuck,
            text: "deployment <7>".to_owned(),
        };
        let spoiled = report(&[stuck]);
        assert!(!spoiled.is_clean());
        assert_eq!(spoiled.counts["stuck"], 1);
        assert!(spoiled.table().contains("VIOLATION stuck: deployment <7>"));
        let folder = tempfile::tempdir().unwrap();
        Report::write(&[spoiled], folder.path()).unwrap();
        let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
        assert!(page.contains("stuck: deployment &lt;7&gt;"), "{page}");
        assert!(page.contains("<svg") && !page.contains("<script"), "{page}");
        let json = fs::read_to_string(folder.path().join("report.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json[0]["faults"][1]["times"][1], 2.0, "{json}");
    }

    #[test]
    fn recovery_beyond_its_bound_is_late() {
        let mut faults = report(&[]).faults;
        assert_eq!(late(&faults), []);
        faults[1].p99 = 10.5;
        assert_eq!(late(&faults).len(), 1);
    }
}
