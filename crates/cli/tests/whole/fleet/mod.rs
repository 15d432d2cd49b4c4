//! Several processes on MySQL and Redis, and what is promised when things go wrong.

mod backlog;
mod bad_start;
mod canary;
mod cancel;
mod drain;
mod events;
mod fail_points;
mod guard;
mod million;
mod nice;
mod notify_killed;
mod redis_faults;
mod redis_outage;
mod resume;
mod retry;
mod rewrap_killed;
mod takeover;
mod two_hundred;
mod worker_killed;
