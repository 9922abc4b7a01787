//! Which segments there are. The catalogue can always be made anew from the segments' names
//! and footers; it exists so that a start need not read them all, and so that a segment that
//! has gone missing is noticed.

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use vedette_sys::Fs;

use crate::{Error, config::CataloguePlace, segment::SegmentInfo};

/// First id → description.
const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("segments");

pub(crate) struct Catalogue {
    path: PathBuf,
    /// `None` for a catalogue in memory, which has nothing to keep.
    database: Option<Database>,
}

impl Catalogue {
    /// Opens or makes the catalogue. One that cannot be read is put aside, and said so.
    pub(crate) fn open(
        place: CataloguePlace,
        folder: &Path,
        fs: &dyn Fs,
    ) -> Result<(Self, Vec<SegmentInfo>, Option<String>), Error> {
        let path = folder.join("catalogue.redb");
        if place == CataloguePlace::Memory {
            return Ok((Self { path, database: None }, Vec::new(), None));
        }
        let mut report = None;
        let (database, segments) = match load(&path) {
            Ok(loaded) => loaded,
            Err(redb::Error::DatabaseAlreadyOpen) => {
                return Err(failed("open", &path)(redb::Error::DatabaseAlreadyOpen));
            }
            Err(error) => {
                let aside = folder.join("catalogue.redb.damaged");
                fs.rename(&path, &aside).map_err(|_| failed("open", &path)(error))?;
                report =
                    Some(format!("{} was unreadable; it is kept as {}", path.display(), aside.display()));
                load(&path).map_err(failed("make", &path))?
            }
        };
        Ok((Self { path, database: Some(database) }, segments, report))
    }

    /// Adds a segment; durable when this returns.
    pub(crate) fn insert(&self, info: &SegmentInfo) -> Result<(), Error> {
        self.change("write", |table| {
            table.insert(info.first_id, info.encode().as_slice())?;
            Ok(())
        })
    }

    /// Removes segments; durable when this returns.
    pub(crate) fn remove(&self, infos: &[SegmentInfo]) -> Result<(), Error> {
        if infos.is_empty() {
            return Ok(());
        }
        self.change("write", |table| {
            for info in infos {
                table.remove(info.first_id)?;
            }
            Ok(())
        })
    }

    fn change(
        &self,
        action: &'static str,
        change: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        let Some(database) = &self.database else { return Ok(()) };
        let run = || {
            let transaction = database.begin_write()?;
            change(&mut transaction.open_table(SEGMENTS)?)?;
            transaction.commit()?;
            Ok(())
        };
        run().map_err(failed(action, &self.path))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(redb::Error) -> Error {
    move |source| Error::Catalogue { action, path: path.to_owned(), source: Box::new(source) }
}

fn load(path: &Path) -> Result<(Database, Vec<SegmentInfo>), redb::Error> {
    // The table is a few kilobytes: a large cache would never fill.
    let database = Database::builder().set_cache_size(1 << 20).create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => redb::Error::DatabaseAlreadyOpen,
        other => other.into(),
    })?;
    if database.begin_read()?.open_table(SEGMENTS).is_err() {
        // Writing waits for the disk, also where there is nothing to write.
        let transaction = database.begin_write()?;
        transaction.open_table(SEGMENTS)?;
        transaction.commit()?;
    }
    let mut segments = Vec::new();
    for row in database.begin_read()?.open_table(SEGMENTS)?.iter()? {
        let (_, value) = row?;
        // A description that cannot be read is as if it were missing: the file is adopted.
        segments.extend(SegmentInfo::decode(value.value()));
    }
    Ok((database, segments))
}
