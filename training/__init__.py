"""Train, caption and publish.  The front half (this folder's own files) never imports torch at module top."""
