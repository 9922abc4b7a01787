mod builtin;
mod files;
mod templates;
mod timeline;
mod timelines;
