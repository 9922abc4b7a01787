//! Numbers that sysfs keeps in a file each.

use std::path::Path;

use crate::{
    file::{Buffer, read_number},
    series::Family,
    sheet::Sheet,
};

/// The file, what it is reported as, and how many of its units make one of the family's.
pub(super) type Attribute = (&'static str, Family<'static>, f64);

/// Units a unit. Divided by, as this is exact where to multiply by a thousandth is not.
pub(super) const SAME: f64 = 1.0;
pub(super) const MILLI: f64 = 1e3;
pub(super) const MICRO: f64 = 1e6;
pub(super) const NANO: f64 = 1e9;
/// Sectors of 512 bytes, in which the kernel counts whatever the device's own are.
pub(super) const SECTORS: f64 = 1.0 / 512.0;

/// Writes down those attributes that the folder has.
pub(super) fn put(
    sheet: &mut Sheet,
    buffer: &mut Buffer,
    folder: &Path,
    attributes: &[Attribute],
    labels: &[(&str, &str)],
) {
    for (file, family, units) in attributes {
        if let Some(number) = read_number(&folder.join(file), buffer) {
            sheet.put(*family, labels, number / units);
        }
    }
}
