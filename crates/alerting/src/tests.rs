mod builtin;
mod files;
mod onward;
mod reload;
mod templates;
mod timeline;
mod timelines;
