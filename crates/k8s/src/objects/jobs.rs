//! Jobs, and what begins them at certain times.

use super::{
    Condition, Resource,
    lenient::{Count, Time, objects, parts},
};

const fn batch(plural: &'static str) -> Resource {
    Resource { group: "batch", ..Resource::core(plural) }
}

objects! {
    /// Runs pods until they are done, with all that is told of it; [`super::Job`] has only who made it.
    JobState at batch("jobs") => {
        spec: JobSpec,
        status: JobStatus,
    }

    /// Begins jobs at certain times.
    CronJob at batch("cronjobs") => {
        spec: CronJobSpec,
        status: CronJobStatus,
    }
}

parts! {
    JobSpec {
        parallelism: Option<i64>,
        completions: Option<i64>,
        active_deadline_seconds: Option<i64>,
    }

    JobStatus {
        active: i64,
        ready: i64,
        succeeded: i64,
        failed: i64,
        start_time: Time,
        completion_time: Time,
        conditions: Box<[Condition]>,
    }

    CronJobSpec {
        schedule: Box<str>,
        time_zone: Option<Box<str>>,
        concurrency_policy: Box<str>,
        suspend: bool,
        starting_deadline_seconds: Option<i64>,
        successful_jobs_history_limit: Option<i64>,
        failed_jobs_history_limit: Option<i64>,
    }

    CronJobStatus {
        active: Count,
        last_schedule_time: Time,
        last_successful_time: Time,
    }
}
