//! Questions to the kernel that no file answers: the discipline of the clock, the state of
//! device-mapper targets, the health of NVMe disks; and how the calling thread may use disks.
//!
//! None changes anything but that.
#![allow(
    unsafe_code,
    reason = "these are calls whose memory the kernel fills; each block says why it is sound"
)]

use std::{ffi::c_void, fs::File, io, mem::size_of, path::Path};

use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};

/// What the kernel knows of its clock, as `adjtimex(2)` names it.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the call")]
pub struct ClockDiscipline {
    pub is_synchronised: bool,
    /// Offset and jitter are told in nanoseconds, else in microseconds.
    pub counts_nanoseconds: bool,
    pub offset: i64,
    pub frequency: i64,
    pub error_max: i64,
    pub error_estimated: i64,
    pub status: i32,
    pub constant: i64,
    pub tick: i64,
    pub pps_frequency: i64,
    pub pps_jitter: i64,
    pub pps_shift: i32,
    pub pps_stability: i64,
    pub pps_jitter_exceeded: i64,
    pub pps_calibrations: i64,
    pub pps_errors: i64,
    pub pps_stability_exceeded: i64,
    pub tai_offset: i32,
}

/// Asks how the clock is disciplined.
pub fn clock_discipline() -> io::Result<ClockDiscipline> {
    // SAFETY: `timex` is plain numbers, for which zeros are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills the structure that it is given; with no mode set it changes nothing.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ClockDiscipline {
        is_synchronised: state != libc::TIME_ERROR,
        counts_nanoseconds: timex.status & libc::STA_NANO != 0,
        offset: timex.offset,
        frequency: timex.freq,
        error_max: timex.maxerror,
        error_estimated: timex.esterror,
        status: timex.status,
        constant: timex.constant,
        tick: timex.tick,
        pps_frequency: timex.ppsfreq,
        pps_jitter: timex.jitter,
        pps_shift: timex.shift,
        pps_stability: timex.stabil,
        pps_jitter_exceeded: timex.jitcnt,
        pps_calibrations: timex.calcnt,
        pps_errors: timex.errcnt,
        pps_stability_exceeded: timex.stbcnt,
        tai_offset: timex.tai,
    })
}

/// Lets the calling thread read and write files only when nobody else does.
pub fn idle_io_priority() -> io::Result<()> {
    const WHO_THREAD: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes three numbers and touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, CLASS_IDLE) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// One target of a device-mapper device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapperTarget {
    /// Its kind, such as `linear` or `thin-pool`.
    pub kind: String,
    /// Its state or, when asked for the table, its parameters.
    pub text: String,
}

/// Bytes of the header of every device-mapper question and answer (`struct dm_ioctl`).
const HEADER_BYTES: usize = 312;
/// Answers of more bytes are refused; a target takes some 200.
const ANSWER_BYTES: usize = 64 << 10;
/// `_IOWR(0xfd, 12, struct dm_ioctl)`.
const TABLE_STATUS: Opcode = ioctl::opcode::read_write::<[u8; HEADER_BYTES]>(0xfd, 12);
const FLAG_TABLE: u32 = 1 << 4;
const FLAG_BUFFER_FULL: u32 = 1 << 8;
/// The pool shall not write its metadata out before it answers.
const FLAG_NO_FLUSH: u32 = 1 << 11;

/// The buffer of a question, aligned as its header must be.
#[repr(C, align(8))]
struct Answer([u8; ANSWER_BYTES]);

/// A question whose answer goes into one buffer.
struct Ask<'a, const OPCODE: Opcode, T>(&'a mut T);

// SAFETY: the buffer lives for as long as the call and is as large as the opcode, or the size in
// the buffer's own header, tells the kernel.
unsafe impl<const OPCODE: Opcode, T> Ioctl for Ask<'_, OPCODE, T> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Asks the device-mapper for a device's targets: their state, or with `table` their parameters.
/// `control` is `/dev/mapper/control`.
pub fn mapper_targets(control: &Path, name: &str, table: bool) -> io::Result<Vec<MapperTarget>> {
    let control = File::options().read(true).write(true).open(control)?;
    let mut answer = Box::new(Answer([0; ANSWER_BYTES]));
    let (flags, bytes) = (FLAG_NO_FLUSH | if table { FLAG_TABLE } else { 0 }, answer_bytes());
    for (at, word) in [(0, 4), (12, bytes), (16, header_bytes()), (28, flags)] {
        answer.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    // The name must leave room for the zero that ends it.
    let name = Some(name.as_bytes()).filter(|n| n.len() < 128 && !n.contains(&0));
    let name = name.ok_or(io::ErrorKind::InvalidInput)?;
    answer.0[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
    // SAFETY: the header tells the kernel how large the buffer is, which it does not exceed.
    unsafe { ioctl::ioctl(&control, Ask::<TABLE_STATUS, _>(&mut *answer))? };
    read_targets(&answer.0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

const NAME_AT: usize = 48;

const fn answer_bytes() -> u32 {
    ANSWER_BYTES as u32
}

const fn header_bytes() -> u32 {
    HEADER_BYTES as u32
}

/// Reads the targets that follow the header. `None` when the answer makes no sense.
fn read_targets(answer: &[u8]) -> Option<Vec<MapperTarget>> {
    /// Bytes of a target before its text (`struct dm_target_spec`).
    const SPEC_BYTES: usize = 40;
    let word = |at: usize| Some(u32::from_ne_bytes(*answer.get(at..)?.first_chunk()?));
    if word(28)? & FLAG_BUFFER_FULL != 0 {
        return None;
    }
    let (start, count) = (word(16)? as usize, word(20)?);
    let mut out = Vec::new();
    let mut at = start;
    for _ in 0..count {
        let spec = answer.get(at..at.checked_add(SPEC_BYTES)?)?;
        let until_zero = |bytes: &[u8]| {
            let end = bytes.iter().position(|b| *b == 0)?;
            Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
        };
        let kind = until_zero(&spec[24..])?;
        let text = until_zero(answer.get(at + SPEC_BYTES..)?)?;
        out.push(MapperTarget { kind, text });
        // Counted from the first target; it must go forward, or we should never come to an end.
        let next = start.checked_add(word(at + 20)? as usize)?;
        if next <= at {
            break;
        }
        at = next;
    }
    Some(out)
}

/// A command to an NVMe controller (`struct nvme_admin_cmd`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct NvmeCommand {
    opcode: u8,
    flags: u8,
    reserved: u16,
    namespace: u32,
    words_2_3: [u32; 2],
    metadata: u64,
    address: u64,
    metadata_bytes: u32,
    data_bytes: u32,
    words_10_15: [u32; 6],
    timeout_ms: u32,
    result: u32,
}

const _: () = assert!(size_of::<NvmeCommand>() == 72);
/// `_IOWR('N', 0x41, struct nvme_admin_cmd)`.
const NVME_ADMIN: Opcode = ioctl::opcode::read_write::<NvmeCommand>(b'N', 0x41);
/// Bytes of the log page that tells of health.
const HEALTH_BYTES: usize = 512;

/// Asks an NVMe controller, such as `/dev/nvme0`, for its log page of health (SMART).
pub fn nvme_health_log(controller: &Path) -> io::Result<[u8; HEALTH_BYTES]> {
    const GET_LOG_PAGE: u8 = 2;
    const HEALTH: u32 = 2;
    let controller = File::open(controller)?;
    let mut page = [0u8; HEALTH_BYTES];
    // Lengths are told in words of four bytes, less one.
    let words = (HEALTH_BYTES / 4 - 1) as u32;
    let mut command = NvmeCommand {
        opcode: GET_LOG_PAGE,
        namespace: u32::MAX,
        address: std::ptr::from_mut(&mut page) as u64,
        data_bytes: HEALTH_BYTES as u32,
        words_10_15: [HEALTH | words << 16, 0, 0, 0, 0, 0],
        timeout_ms: 2000,
        ..NvmeCommand::default()
    };
    // SAFETY: the command names our page and its size; both outlive the call, which waits for the
    // controller's answer.
    unsafe { ioctl::ioctl(&controller, Ask::<NVME_ADMIN, _>(&mut command))? };
    Ok(page)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer as the kernel lays it out.
    fn answer(targets: &[(&str, &str)]) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out[16..20].copy_from_slice(&header_bytes().to_ne_bytes());
        out[20..24].copy_from_slice(&(targets.len() as u32).to_ne_bytes());
        for (kind, text) in targets {
            let at = out.len();
            out.resize(at + 40, 0);
            out[at + 24..at + 24 + kind.len()].copy_from_slice(kind.as_bytes());
            out.extend_from_slice(text.as_bytes());
            out.resize((out.len() + 8) & !7, 0);
            let next = (out.len() - HEADER_BYTES) as u32;
            out[at + 20..at + 24].copy_from_slice(&next.to_ne_bytes());
        }
        out
    }

    #[test]
    fn targets_are_read_one_after_the_other() {
        let told = read_targets(&answer(&[("thin-pool", "1 2/3 4/5 - rw"), ("linear", "")])).unwrap();
        let told: Vec<_> = told.iter().map(|t| (t.kind.as_str(), t.text.as_str())).collect();
        assert_eq!(told, [("thin-pool", "1 2/3 4/5 - rw"), ("linear", "")]);
    }

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let mut cut = answer(&[("linear", "")]);
        cut[28..32].copy_from_slice(&FLAG_BUFFER_FULL.to_ne_bytes());
        assert_eq!(read_targets(&cut), None);
    }

    #[test]
    fn the_clock_is_asked() {
        // A sandbox may forbid the question; what must not happen is nonsense.
        if let Ok(clock) = clock_discipline() {
            assert!((1..1_000_000).contains(&clock.tick), "{clock:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..600),
            count in 0..9u32,
        ) {
            if bytes.len() > 32 {
                bytes[16..20].copy_from_slice(&40u32.to_ne_bytes());
                bytes[20..24].copy_from_slice(&count.to_ne_bytes());
                bytes[28..32].copy_from_slice(&[0; 4]);
            }
            let _ = read_targets(&bytes);
        }
    }
}
