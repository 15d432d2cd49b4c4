//! Who may do what: roles, permissions, the acting person, and the one table that decides.

mod actor;
mod permission;
mod policy;
mod role;

pub use actor::{Actor, Credential};
pub use permission::Permission;
pub use policy::allows;
pub use role::{ProjectRole, SystemRole};
