//! The tables `users`, `sessions`, `api_tokens`, `sign_in_throttles`, `password_links`,
//! `recovery_codes`, `challenges`, `identities` and `provider_starts`.

pub mod user {
    //! A person or service that signs in.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{access::SystemRole, account::kind::UserKind, id::UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: UserId,
        pub email: String,
        pub email_key: String,
        pub name: String,
        pub role: SystemRole,
        pub password_hash: String,
        pub disabled_at: Option<DateTime<Utc>>,
        pub kind: UserKind,
        pub created_at: DateTime<Utc>,
        pub updated_at: DateTime<Utc>,
        /// Since when a second factor is asked for.
        pub factor_at: Option<DateTime<Utc>>,
        /// The newest time step whose code was used.
        pub factor_step: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod session {
    //! A signed-in browser.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::{SessionId, UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: SessionId,
        pub user_id: UserId,
        pub token_hash: String,
        pub address: String,
        pub user_agent: String,
        pub created_at: DateTime<Utc>,
        pub seen_at: DateTime<Utc>,
        pub expires_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod api_token {
    //! An API token.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::{TokenId, UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_tokens")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: TokenId,
        pub user_id: UserId,
        pub name: String,
        pub token_hash: String,
        pub hint: String,
        pub created_at: DateTime<Utc>,
        pub expires_at: Option<DateTime<Utc>>,
        pub used_at: Option<DateTime<Utc>>,
        pub scopes: String,
        pub projects: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod throttle {
    //! Wrong passwords for one address.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sign_in_throttles")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub account_hash: String,
        pub failures: i64,
        pub blocked_until: DateTime<Utc>,
        pub updated_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod link {
    //! A one-time link to set a password.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::UserId;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "password_links")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub user_id: UserId,
        pub token_hash: String,
        pub created_at: DateTime<Utc>,
        pub expires_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod recovery_code {
    //! A code in the place of a lost second factor.

    use sea_orm::entity::prelude::*;

    use crate::id::UserId;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "recovery_codes")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub user_id: UserId,
        pub code_hash: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod challenge {
    //! A sign-in that still lacks the second factor.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::{account::kind::Means, id::UserId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "challenges")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub user_id: UserId,
        pub token_hash: String,
        /// What was proved already.
        pub means: Means,
        pub attempts: i64,
        pub expires_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod identity {
    //! Whose account somebody of the identity provider has.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    use crate::id::UserId;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "identities")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub user_id: UserId,
        pub issuer: String,
        pub subject: String,
        pub created_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod provider_start {
    //! A sign-in that has gone to the identity provider.

    use chrono::{DateTime, Utc};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "provider_starts")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub token_hash: String,
        /// The page that was asked for.
        pub next: String,
        pub expires_at: DateTime<Utc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
