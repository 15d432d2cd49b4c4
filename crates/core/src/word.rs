//! Closed sets of words that are the same in the database, in JSON and in Rust.

/// Declares an enumeration whose variants are stored and sent as words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident {
        $($(#[$variant_about:meta])* $variant:ident = $word:tt),+ $(,)?
    }) => {
        $(#[$about])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash,
            sea_orm::EnumIter, sea_orm::DeriveActiveEnum,
            serde::Serialize, serde::Deserialize, utoipa::ToSchema,
        )]
        #[sea_orm(rs_type = "String", db_type = "String(sea_orm::prelude::StringLen::None)")]
        pub enum $name {
            $(
                $(#[$variant_about])*
                #[sea_orm(string_value = $word)]
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $name {
            /// Every variant, in the order of the list.
            pub const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The variant that a word names.
            #[must_use]
            pub fn from_name(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|variant| variant.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    words! {
        /// For this test.
        Colour {
            /// Like blood.
            Red = "red",
            /// Like the sea at dusk.
            DarkBlue = "dark_blue",
        }
    }

    #[test]
    fn a_word_is_the_same_everywhere() {
        use sea_orm::ActiveEnum as _;
        for colour in Colour::ALL {
            assert_eq!(Colour::from_name(colour.as_str()), Some(colour));
            assert_eq!(colour.to_value(), colour.to_string());
            let json = serde_json::to_string(&colour).unwrap();
            assert_eq!(json, format!("\"{colour}\""));
            assert_eq!(serde_json::from_str::<Colour>(&json).unwrap(), colour);
        }
        assert_eq!(Colour::from_name("DarkBlue"), None);
        assert!(serde_json::from_str::<Colour>("\"green\"").is_err());
    }
}
