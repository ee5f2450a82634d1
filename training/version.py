"""The version, the only place where it stands: the wheel's, the command's, the one that CHANGELOG.md names.  Semantic, without a tag's v."""

VERSION = "0.1.0"
