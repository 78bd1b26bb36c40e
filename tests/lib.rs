//! Tests of the workspace as a whole. Each `[[test]]` of the manifest is one subject.
