//! `larder verify`: everything stored, checked again.

use serde_json::json;

use crate::{
    context::Context,
    exit_code::ExitCode,
    ui::{Part, Unit, clean, count, counted},
};

/// Re-checks everything stored: checksums, contiguity, indexes, audited conditions
///
/// One line for each finding. It ends with 0 if nothing is wrong, with 1 if something is.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let ui = &context.ui;
        let store = context.open_to_read()?;
        let bar = ui.bar(None, Unit::Steps);
        let report = store.verify(bar.as_progress()).wait();
        bar.finish();
        let report = report?;
        let total = report.findings.len() as u64 + report.more_findings;
        if ui.is_json() {
            let finding = |finding: &larder::backend::Finding| {
                let position = finding.position.map(larder::Position::get);
                json!({ "log": finding.log, "position": position, "problem": finding.problem })
            };
            ui.object(&json!({
                "sound": report.is_sound(),
                "events": report.events,
                "items": report.items,
                "index_entries": report.index_entries,
                "conditions": report.conditions,
                "snapshots": report.snapshots,
                "objects": report.objects,
                "triggers": report.triggers,
                "projections": report.projections,
                "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
                "more_findings": report.more_findings,
            }))?;
        } else {
            for finding in &report.findings {
                ui.line(clean(&finding.to_string()))?;
            }
            if report.more_findings > 0 {
                ui.line(format!("and {} more", count(report.more_findings)))?;
            }
            let checked = format!(
                "{}, {}, {}, {}, {}, {}, {}, {} checked",
                counted(report.events, "event"),
                counted(report.items, "item"),
                counted(report.index_entries, "stored index row"),
                counted(report.conditions, "condition"),
                counted(report.snapshots, "snapshot"),
                counted(report.objects, "object"),
                counted(report.triggers, "trigger"),
                counted(report.projections, "projection")
            );
            let verdict = match total {
                0 => ui.paint(Part::Good, "sound"),
                _ => ui.paint(Part::Bad, counted(total, "finding")),
            };
            ui.line(format!("{verdict}: {checked}"))?;
        }
        Ok(if total == 0 { ExitCode::Success } else { ExitCode::Findings })
    }
}
