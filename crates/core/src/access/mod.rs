//! Who may do what: roles, permissions, the acting person, and the one table that decides.

mod actor;
mod permission;
mod policy;
mod role;
mod scope;

pub use actor::{Actor, Credential, Standing};
pub use permission::Permission;
pub use policy::allows;
pub use role::{ProjectRole, SystemRole};
pub use scope::{Limits, TokenScope};
