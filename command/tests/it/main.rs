//! The manners that all commands share, seen from outside.
