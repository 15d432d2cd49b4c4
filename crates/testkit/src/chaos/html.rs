//! A report as one page that needs nothing else: no script, no other file.

use std::fmt::{self, Write};

use super::report::{FaultFigures, Report};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;\
padding:0 1rem;color:#1b1f24;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.5rem}\
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .9rem .2rem 0;text-align:right;\
border-bottom:1px solid #d8dee4}td:first-child,th:first-child{text-align:left}\
.good{color:#1a7f37}.bad{color:#b42318}figure{display:inline-block;margin:0 1rem 1rem 0}\
figcaption{font-weight:600}svg text{font:11px system-ui,sans-serif;fill:#57606a}\
li{overflow-wrap:anywhere}";

/// Size of a plot, and the space for its labels.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
const RIGHT: f64 = 14.0;

/// The page of some reports.
#[must_use]
pub(crate) fn page(reports: &[Report]) -> String {
    let mut page = String::new();
    // Writing to a text cannot fail.
    let _infallible = write_page(&mut page, reports);
    page
}

fn write_page(page: &mut String, reports: &[Report]) -> fmt::Result {
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Slipway under faults</title>\
         <style>{STYLE}</style></head><body><h1>Slipway under faults</h1>\n"
    )?;
    for report in reports {
        section(page, report)?;
    }
    page.push_str("</body></html>\n");
    Ok(())
}

fn section(page: &mut String, report: &Report) -> fmt::Result {
    let (class, verdict) = if report.is_clean() {
        ("good", "No violation")
    } else {
        ("bad", "Violations")
    };
    writeln!(
        page,
        "<section><h2>{}</h2><p class=\"{class}\"><strong>{verdict}</strong></p>",
        escaped(report.scenario)
    )?;
    let options = report.options.iter();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    writeln!(page, "<p>{}</p>", escaped(&options.join(" · ")))?;
    page.push_str("<table>");
    for (name, value) in &report.figures {
        writeln!(
            page,
            "<tr><td>{}</td><td>{value:.1}</td></tr>",
            escaped(name)
        )?;
    }
    page.push_str("</table>\n<table><tr><th>promise</th><th>broken</th></tr>");
    for (name, count) in &report.counts {
        let class = if *count == 0 { "good" } else { "bad" };
        writeln!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{count}</td></tr>",
            escaped(name)
        )?;
    }
    page.push_str("</table>\n");
    violations(page, &report.violations)?;
    faults(page, &report.faults)?;
    page.push_str("</section>\n");
    Ok(())
}

fn violations(page: &mut String, violations: &[String]) -> fmt::Result {
    if violations.is_empty() {
        return Ok(());
    }
    page.push_str("<ul class=\"bad\">");
    for violation in violations {
        writeln!(page, "<li>{}</li>", escaped(violation))?;
    }
    page.push_str("</ul>\n");
    Ok(())
}

fn faults(page: &mut String, faults: &[FaultFigures]) -> fmt::Result {
    if faults.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h3>Recovery</h3><table><tr><th>fault</th><th>struck</th><th>recoveries</th>\
         <th>p50 s</th><th>p99 s</th><th>max s</th><th>bound s</th></tr>\n",
    );
    for it in faults {
        let class = if it.p99 > it.bound { "bad" } else { "good" };
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td class=\"{class}\">{:.2}</td>\
             <td>{:.2}</td><td>{:.2}</td></tr>",
            it.fault, it.struck, it.recoveries, it.p50, it.p99, it.max, it.bound
        )?;
    }
    page.push_str(
        "</table><p>Share of recoveries that took no longer than so many seconds; the red line \
         is the bound.</p>\n",
    );
    for it in faults.iter().filter(|it| !it.times.is_empty()) {
        plot(page, it)?;
    }
    Ok(())
}

/// The cumulative distribution of one fault's recovery times.
fn plot(page: &mut String, of: &FaultFigures) -> fmt::Result {
    let end = of.bound.max(of.max) * 1.08;
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / end;
    let y = |share: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share);
    write!(
        page,
        "<figure><figcaption>{} ({})</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"recovery times of {}\">",
        of.fault, of.recoveries, of.fault
    )?;
    for share in [0.0, 0.5, 0.99] {
        let (at, label) = (y(share), format!("{:.0} %", share * 100.0));
        write!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d8dee4\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 5.0,
            at + 4.0
        )?;
    }
    for tick in ticks(end) {
        let at = x(tick);
        write!(
            page,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#eaeef2\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick} s</text>",
            y(0.0),
            HEIGHT - 10.0
        )?;
    }
    let at = x(of.bound);
    write!(
        page,
        "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#b42318\" \
         stroke-width=\"1.5\"/>",
        y(0.0)
    )?;
    let mut line = format!("M{:.1} {:.1}", x(0.0), y(0.0));
    for (time, share) in of.times.iter().zip(shares(of.times.len())) {
        write!(line, "H{:.1}V{:.1}", x(*time), y(share))?;
    }
    write!(line, "H{:.1}", WIDTH - RIGHT)?;
    writeln!(
        page,
        "<path d=\"{line}\" fill=\"none\" stroke=\"#0969da\" stroke-width=\"2\"/></svg></figure>"
    )
}

#[expect(clippy::cast_precision_loss, reason = "a share for a plot")]
fn shares(number: usize) -> impl Iterator<Item = f64> {
    (1..=number).map(move |rank| rank as f64 / number as f64)
}

/// Whole numbers at even distances, about five of them.
fn ticks(end: f64) -> Vec<f64> {
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
    let step = steps.into_iter().find(|step| end / step <= 7.0);
    let step = step.unwrap_or(200.0);
    let marks = (0_u32..8).map(|number| f64::from(number) * step);
    marks.take_while(|mark| *mark < end).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
