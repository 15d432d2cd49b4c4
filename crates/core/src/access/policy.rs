//! The permission table, as one pure function.

use super::{Permission, ProjectRole, SystemRole};

/// Whether either role allows it. `project` is the person's role in the project that the question
/// is about; questions about the system itself have none.
#[must_use]
pub fn allows(system: SystemRole, project: Option<ProjectRole>, permission: Permission) -> bool {
    use Permission as P;
    match (system, permission) {
        (SystemRole::Admin, _) | (SystemRole::Viewer, P::ViewProject) => true,
        (SystemRole::Manager, _) => permission != P::Administer,
        // A Viewer stays read-only, whatever their membership.
        (SystemRole::Viewer, _)
        | (SystemRole::Developer, P::Observe | P::Operate | P::Administer) => false,
        (SystemRole::Developer, P::CreateProject) => true,
        (SystemRole::Developer, P::ViewProject | P::Deploy | P::ConfigureProject) => {
            project.is_some()
        }
        (SystemRole::Developer, P::ApproveDeployment | P::GovernProject | P::DeleteProject) => {
            project == Some(ProjectRole::Owner)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the design, one line a permission: Admin, Manager, Developer as Owner, as
    /// Member, as neither, Viewer.
    #[test]
    fn the_whole_table_is_as_designed() {
        let columns = [
            (SystemRole::Admin, None),
            (SystemRole::Manager, None),
            (SystemRole::Developer, Some(ProjectRole::Owner)),
            (SystemRole::Developer, Some(ProjectRole::Member)),
            (SystemRole::Developer, None),
            (SystemRole::Viewer, None),
        ];
        let mut table = String::new();
        for permission in Permission::ALL {
            let line: String = columns
                .map(|(system, project)| {
                    if allows(system, project, permission) {
                        'y'
                    } else {
                        '-'
                    }
                })
                .iter()
                .collect();
            table.push_str(&format!("{line} {permission}\n"));
        }
        insta::assert_snapshot!(table, @r"
        yyyy-y view the project
        yyyyy- create a project
        yyyy-- deploy
        yyyy-- change the project's configuration
        yyy--- approve a deployment
        yyy--- change the project's members and locks
        yyy--- delete the project
        yy---- see the queue, the workers and the audit trail
        yy---- operate Slipway
        y----- administer Slipway
        ");
    }

    #[test]
    fn a_membership_never_takes_away_and_never_lifts_a_viewer() {
        let questions = SystemRole::ALL
            .into_iter()
            .flat_map(|system| Permission::ALL.map(|permission| (system, permission)));
        for (system, permission) in questions {
            let without = allows(system, None, permission);
            for role in ProjectRole::ALL {
                let with = allows(system, Some(role), permission);
                assert!(with || !without, "{system:?} {role:?} {permission:?}");
                assert!(
                    with == without || system == SystemRole::Developer,
                    "{role:?} {permission:?}"
                );
            }
        }
    }
}
