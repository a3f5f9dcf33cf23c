//! Settings that are chosen by name, on the command line and in metadata alike.

/// Gives an enum of settings the `Display` and `FromStr` of its kebab-case names.
macro_rules! kebab_case_names {
    ($kind:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $name),+ })
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(name: &str) -> std::result::Result<Self, String> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of {}, found `{name}`", [$($name),+].join(", "))),
                }
            }
        }
    };
}
pub(crate) use kebab_case_names;
