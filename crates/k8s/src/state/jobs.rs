//! Jobs and cron jobs.

use super::{
    Family, Head, Rows, Stateful,
    common::{annotations, created, exists, gauge, labels, owner, resource_version},
    cron::Schedule,
};
use crate::objects::{CronJob, JobState, Object};

/// Why a job may have failed; other reasons are told as none.
const FAILURES: &[&str] = &["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];

impl Stateful for JobState {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_job_annotations"),
        labels("kube_job_labels"),
        exists("kube_job_info"),
        created("kube_job_created"),
        gauge("kube_job_complete", "Whether the job is done.", |object: &Self, rows| {
            conditions(object, "Complete", rows);
        }),
        gauge("kube_job_failed", "Whether the job was given up.", |object: &Self, rows| {
            conditions(object, "Failed", rows);
        }),
        owner("kube_job_owner"),
        gauge(
            "kube_job_spec_active_deadline_seconds",
            "How many seconds the job may take.",
            |object: &Self, rows| rows.number(object.spec.active_deadline_seconds),
        ),
        gauge("kube_job_spec_completions", "How many pods must succeed.", |object: &Self, rows| {
            rows.number(object.spec.completions);
        }),
        gauge("kube_job_spec_parallelism", "How many pods may run at a time.", |object: &Self, rows| {
            rows.number(object.spec.parallelism);
        }),
        gauge("kube_job_status_active", "How many pods run.", |object: &Self, rows| {
            rows.number(Some(object.status.active));
        }),
        gauge(
            "kube_job_status_completion_time",
            "When the job was done, in seconds since 1970.",
            |object: &Self, rows| rows.number(object.status.completion_time.0),
        ),
        gauge("kube_job_status_failed", "How many pods have failed, or why the job has.", failed),
        gauge("kube_job_status_ready", "How many pods are ready.", |object: &Self, rows| {
            rows.number(Some(object.status.ready));
        }),
        gauge(
            "kube_job_status_start_time",
            "When the job began, in seconds since 1970.",
            |object: &Self, rows| rows.number(object.status.start_time.0),
        ),
        gauge("kube_job_status_succeeded", "How many pods have succeeded.", |object: &Self, rows| {
            rows.number(Some(object.status.succeeded));
        }),
        gauge("kube_job_status_suspended", "Whether the job is held up.", |object: &Self, rows| {
            for condition in
                object.status.conditions.iter().filter(|condition| &*condition.kind == "Suspended")
            {
                rows.row(&[], f64::from(&*condition.status == "True"));
            }
        }),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("job_name", &self.meta().name);
    }
}

fn conditions(job: &JobState, kind: &str, rows: &mut Rows<'_>) {
    for condition in job.status.conditions.iter().filter(|condition| &*condition.kind == kind) {
        rows.condition(&[], "condition", condition);
    }
}

/// No pod has failed: 0. The job has failed for a known reason: 1 for the reason and 0 for the others. Else how
/// many pods have failed, for no reason.
fn failed(job: &JobState, rows: &mut Rows<'_>) {
    if job.status.failed == 0 {
        return rows.row(&[], 0.0);
    }
    let mut is_known = false;
    for condition in job.status.conditions.iter().filter(|condition| &*condition.kind == "Failed") {
        rows.states("reason", FAILURES, |reason| reason == &*condition.reason);
        is_known |= FAILURES.contains(&&*condition.reason);
    }
    if !is_known {
        rows.row(&[("reason", "")], job.status.failed as f64);
    }
}

impl Stateful for CronJob {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_cronjob_annotations"),
        labels("kube_cronjob_labels"),
        gauge("kube_cronjob_info", "When it begins jobs and how.", |object: &Self, rows| {
            let spec = &object.spec;
            rows.row(
                &[
                    ("schedule", &spec.schedule),
                    ("concurrency_policy", &spec.concurrency_policy),
                    ("timezone", spec.time_zone.as_deref().unwrap_or("local")),
                ],
                1.0,
            );
        }),
        created("kube_cronjob_created"),
        resource_version("kube_cronjob_metadata_resource_version"),
        gauge(
            "kube_cronjob_next_schedule_time",
            "When the next job is due after the last one, or after it was made, in seconds since 1970; also if \
             that has passed.",
            |object: &Self, rows| rows.number(next(object)),
        ),
        gauge(
            "kube_cronjob_schedule_invalid",
            "1 where the times, in their time zone, cannot be understood.",
            |object: &Self, rows| {
                if schedule(object).is_none() {
                    rows.row(&[], 1.0);
                }
            },
        ),
        gauge(
            "kube_cronjob_spec_failed_job_history_limit",
            "How many failed jobs are kept.",
            |object: &Self, rows| rows.number(object.spec.failed_jobs_history_limit),
        ),
        gauge(
            "kube_cronjob_spec_starting_deadline_seconds",
            "How many seconds late a job may begin.",
            |object: &Self, rows| rows.number(object.spec.starting_deadline_seconds),
        ),
        gauge(
            "kube_cronjob_spec_successful_job_history_limit",
            "How many successful jobs are kept.",
            |object: &Self, rows| rows.number(object.spec.successful_jobs_history_limit),
        ),
        gauge("kube_cronjob_spec_suspend", "Whether no job is begun.", |object: &Self, rows| {
            rows.row(&[], f64::from(object.spec.suspend));
        }),
        gauge("kube_cronjob_status_active", "How many of its jobs run.", |object: &Self, rows| {
            rows.row(&[], object.status.active.0 as f64);
        }),
        gauge(
            "kube_cronjob_status_last_schedule_time",
            "When the last job was begun, in seconds since 1970.",
            |object: &Self, rows| rows.number(object.status.last_schedule_time.0),
        ),
        gauge(
            "kube_cronjob_status_last_successful_time",
            "When the last successful job was done, in seconds since 1970.",
            |object: &Self, rows| rows.number(object.status.last_successful_time.0),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("cronjob", &self.meta().name);
    }
}

fn schedule(cron_job: &CronJob) -> Option<Schedule> {
    Schedule::parse(&cron_job.spec.schedule, cron_job.spec.time_zone.as_deref())
}

fn next(cron_job: &CronJob) -> Option<i64> {
    let after = cron_job.status.last_schedule_time.0.or(cron_job.meta().created)?;
    if cron_job.spec.suspend { None } else { schedule(cron_job)?.next(after) }
}
