//! Tests of the store on a journal.
