//! The roles people hold, in the whole system and in one project.

use crate::word::words;

words! {
    /// What a person is in the whole system.
    SystemRole {
        /// Everything.
        Admin = "admin",
        /// Every project, and how Slipway is run day to day.
        Manager = "manager",
        /// Own projects only.
        Developer = "developer",
        /// Sees everything, changes nothing.
        Viewer = "viewer",
    }
}

words! {
    /// What a person is in one project.
    ProjectRole {
        /// Answers for the project: members, approvals, deletion.
        Owner = "owner",
        /// Works on the project.
        Member = "member",
    }
}
