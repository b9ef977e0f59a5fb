//! The kernel's tracing file system: which tracepoints there are, what their records hold, and which
//! functions can be traced.
//!
//! It is at `/sys/kernel/tracing` (Linux 4.1), on older systems and by an automatic mount also below
//! debugfs; either may be there but not mounted.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

/// Where it is looked for, in this order.
pub const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Why something could not be read from the tracing file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracefsError {
    /// It is not mounted, or the kernel has none.
    #[error(
        "the tracing file system is not mounted at {}: `mount -t tracefs tracefs {}` does it, on a \
         kernel with CONFIG_FTRACE or CONFIG_EVENT_TRACING", MOUNT_POINTS.join(" or "), MOUNT_POINTS[0]
    )]
    NotMounted,
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no such tracepoint.
    #[error("this kernel has no tracepoint `{subsystem}/{event}`")]
    NoEvent {
        /// Group of tracepoints.
        subsystem: String,
        /// The tracepoint.
        event: String,
    },
    /// A subsystem or event name that could leave the directory of events.
    #[error("`{0}` is not the name of a tracepoint or of a group of them")]
    BadName(String),
    /// A line of a format file that is not understood.
    #[error("{path}:{line}: {what}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A format file without something that all have.
    #[error("{path}: no `{what}`")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is missing: `name`, `ID`.
        what: &'static str,
    },
}

/// What a tracepoint's record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFormat {
    /// Name of the event.
    pub name: String,
    /// Number by which `perf_event_open(2)` knows it.
    pub id: u32,
    /// Fields that all records have (`common_type`, ...), then the event's own.
    pub fields: Vec<EventField>,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventField {
    /// Name.
    pub name: String,
    /// Type as the kernel writes it, of an element for arrays: `const char *`, `char`.
    pub ty: String,
    /// Offset in the record, in bytes.
    pub offset: u32,
    /// Size in bytes, of the whole array; of a [`Location::Data`] or `Relative` one, 4.
    pub size: u32,
    /// Whether integers are signed.
    pub signed: bool,
    /// Set for an array.
    pub array: Option<ArrayLength>,
    /// Where the value itself is.
    pub location: Location,
}

/// How many elements an array in a record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArrayLength {
    /// So many.
    Fixed(u32),
    /// As many as a name says that this kernel did not replace by its value (`TASK_COMM_LEN`); the
    /// field's size in bytes is right all the same.
    Symbolic(String),
    /// It differs from record to record.
    Dynamic,
}

/// Where a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the field.
    Direct,
    /// Elsewhere in the record: the field is a u32 with the offset from the record's start in the lower
    /// half and the length in bytes in the upper (`__data_loc`).
    Data,
    /// The same with an offset from the end of the field (`__rel_loc`).
    Relative,
}

impl EventFormat {
    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&EventField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The event's own fields, without those that all records have.
    pub fn own_fields(&self) -> impl Iterator<Item = &EventField> {
        self.fields.iter().filter(|field| !field.name.starts_with("common_"))
    }

    /// Reads a format file; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, TracefsError> {
        let (mut name, mut id, mut fields) = (None, None, Vec::new());
        for (index, line) in text.lines().enumerate() {
            let bad = |what| TracefsError::Line { path: path.into(), line: index + 1, what };
            if let Some(rest) = line.strip_prefix("name:") {
                name = Some(rest.trim().to_owned());
            } else if let Some(rest) = line.strip_prefix("ID:") {
                id = Some(rest.trim().parse().map_err(|_| bad("ID is not a number"))?);
            } else if line.starts_with("print fmt:") {
                // What follows is C source, for printing.
                break;
            } else if let Some(rest) = line.trim_start().strip_prefix("field:") {
                fields.push(parse_field(rest).map_err(bad)?);
            } else if !line.trim().is_empty() && line.trim() != "format:" {
                return Err(bad("neither `name:`, `ID:`, `format:`, `field:` nor `print fmt:`"));
            }
        }
        let missing = |what| TracefsError::Incomplete { path: path.into(), what };
        let name = name.ok_or_else(|| missing("name"))?;
        let id = id.ok_or_else(|| missing("ID"))?;
        Ok(Self { name, id, fields })
    }
}

/// Parses what follows `field:`: `type name; offset:0; size:4; signed:1;`.
fn parse_field(text: &str) -> Result<EventField, &'static str> {
    let (declaration, rest) = text.split_once(';').ok_or("field without `;`")?;
    let number = |key: &'static str, missing, wrong| {
        let value = rest.split(';').find_map(|part| part.trim().strip_prefix(key));
        value.ok_or(missing)?.parse::<u32>().map_err(|_| wrong)
    };
    let offset = number("offset:", "field without offset", "offset is not a number")?;
    let size = number("size:", "field without size", "size is not a number")?;
    let signed = match number("signed:", "field without sign", "sign is not a number")? {
        0 => false,
        1 => true,
        _ => return Err("sign is neither 0 nor 1"),
    };

    let declaration = declaration.trim();
    let (location, declaration) = match declaration.strip_prefix("__data_loc ") {
        Some(rest) => (Location::Data, rest),
        None => match declaration.strip_prefix("__rel_loc ") {
            Some(rest) => (Location::Relative, rest),
            None => (Location::Direct, declaration),
        },
    };
    // The brackets of a dynamic array stand behind its type, those of others behind the name.
    let (declaration, behind_name) = match declaration.strip_suffix(']') {
        Some(rest) => {
            let (declaration, length) = rest.rsplit_once('[').ok_or("`]` without `[`")?;
            (declaration, Some(length))
        }
        None => (declaration, None),
    };
    let split = declaration.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (ty, name) = declaration.split_at(split.map_or(0, |at| at + 1));
    let ty = ty.trim();
    if name.is_empty() || ty.is_empty() {
        return Err("field is not declared as type and name");
    }
    let (ty, behind_type) = match ty.strip_suffix("[]") {
        Some(element) => (element.trim_end(), true),
        None => (ty, false),
    };
    let array = match behind_name {
        _ if behind_type || location != Location::Direct => Some(ArrayLength::Dynamic),
        None => None,
        Some("") => Some(ArrayLength::Dynamic),
        Some(length) => Some(match length.parse() {
            Ok(number) => ArrayLength::Fixed(number),
            Err(_) => ArrayLength::Symbolic(length.to_owned()),
        }),
    };
    Ok(EventField {
        name: name.to_owned(),
        ty: ty.to_owned(),
        offset,
        size,
        signed,
        array,
        location,
    })
}

/// A mounted tracing file system.
#[derive(Clone, Debug)]
pub struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    /// Finds where it is mounted.
    pub fn find() -> Result<Self, TracefsError> {
        let mounted = |root: &&str| Path::new(root).join("events").is_dir();
        let root = MOUNT_POINTS.into_iter().find(mounted).ok_or(TracefsError::NotMounted)?;
        Ok(Self::at(root))
    }

    /// Takes a directory for it.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a tracepoint's record holds.
    pub fn event(&self, subsystem: &str, event: &str) -> Result<EventFormat, TracefsError> {
        let path = self.event_file(subsystem, event, "format")?;
        let text = self.read_event(&path, subsystem, event)?;
        EventFormat::parse(&text, &path)
    }

    /// The number by which `perf_event_open(2)` knows a tracepoint.
    pub fn event_id(&self, subsystem: &str, event: &str) -> Result<u32, TracefsError> {
        let path = self.event_file(subsystem, event, "id")?;
        let text = self.read_event(&path, subsystem, event)?;
        let what = "id is not a number";
        text.trim().parse().map_err(|_| TracefsError::Line { path, line: 1, what })
    }

    /// Groups of tracepoints, in order of name.
    pub fn subsystems(&self) -> Result<Vec<String>, TracefsError> {
        directories(&self.root.join("events"))
    }

    /// Tracepoints of a group, in order of name; empty if there is no such group.
    pub fn events(&self, subsystem: &str) -> Result<Vec<String>, TracefsError> {
        let path = self.root.join("events").join(checked(subsystem)?);
        match directories(&path) {
            Err(TracefsError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            result => result,
        }
    }

    /// Functions that ftrace, and so kprobe.multi and fentry, can attach to, with their modules. Needs
    /// a kernel with dynamic ftrace; others do not have the file.
    pub fn filter_functions(&self) -> Result<Vec<(String, Option<String>)>, TracefsError> {
        let path = self.root.join("available_filter_functions");
        let unreadable = |source| TracefsError::Read { path: path.clone(), source };
        let file = BufReader::new(File::open(&path).map_err(unreadable)?);
        let mut functions = Vec::new();
        for (index, line) in file.lines().enumerate() {
            let line = line.map_err(unreadable)?;
            let parsed = parse_function(&line).map_err(|what| TracefsError::Line {
                path: path.clone(),
                line: index + 1,
                what,
            })?;
            // Some kernels list the places of discarded functions under made-up names.
            if !parsed.0.starts_with("__ftrace_invalid_address__") {
                functions.push(parsed);
            }
        }
        Ok(functions)
    }

    fn event_file(
        &self,
        subsystem: &str,
        event: &str,
        file: &str,
    ) -> Result<PathBuf, TracefsError> {
        let events = self.root.join("events");
        Ok(events.join(checked(subsystem)?).join(checked(event)?).join(file))
    }

    fn read_event(
        &self,
        path: &Path,
        subsystem: &str,
        event: &str,
    ) -> Result<String, TracefsError> {
        std::fs::read_to_string(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => {
                TracefsError::NoEvent { subsystem: subsystem.into(), event: event.into() }
            }
            _ => TracefsError::Read { path: path.into(), source },
        })
    }
}

/// Parses `name` or `name [module]`.
fn parse_function(line: &str) -> Result<(String, Option<String>), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().ok_or("empty line")?.to_owned();
    let module = match words.next() {
        None => None,
        Some(module) => {
            let module = module.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            Some(module.ok_or("module is not in brackets")?.to_owned())
        }
    };
    Ok((name, module))
}

/// Names come from policies and become parts of paths.
fn checked(name: &str) -> Result<&str, TracefsError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    match plain && !name.is_empty() && !name.starts_with('.') {
        true => Ok(name),
        false => Err(TracefsError::BadName(name.to_owned())),
    }
}

fn directories(path: &Path) -> Result<Vec<String>, TracefsError> {
    let unreadable = |source| TracefsError::Read { path: path.into(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            // The kernel's names are ASCII.
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXEC: &str = "\
name: sched_process_exec
ID: 315
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;
\tfield:const char * comment;\toffset:24;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:32;\tsize:16;\tsigned:0;
\tfield:char old_comm[TASK_COMM_LEN];\toffset:48;\tsize:16;\tsigned:0;
\tfield:unsigned long args[6];\toffset:64;\tsize:48;\tsigned:0;
\tfield:__rel_loc __u8[] bytes;\toffset:112;\tsize:4;\tsigned:0;
\tfield:struct cpumask *mask;\toffset:120;\tsize:8;\tsigned:0;

print fmt: \"filename=%s field:\", __get_str(filename)
";

    fn parse(text: &str) -> Result<EventFormat, TracefsError> {
        EventFormat::parse(text, Path::new("format"))
    }

    #[test]
    fn reads_a_format() {
        let format = parse(EXEC).unwrap();
        assert_eq!((format.name.as_str(), format.id), ("sched_process_exec", 315));
        assert_eq!(format.fields.len(), 10);
        assert_eq!(format.own_fields().count(), 8);
        let shown: Vec<_> = format
            .own_fields()
            .map(|field| (field.ty.as_str(), field.name.as_str(), field.array.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("char", "filename", Some(ArrayLength::Dynamic)),
                ("pid_t", "old_pid", None),
                ("const char *", "comment", None),
                ("char", "comm", Some(ArrayLength::Fixed(16))),
                ("char", "old_comm", Some(ArrayLength::Symbolic("TASK_COMM_LEN".into()))),
                ("unsigned long", "args", Some(ArrayLength::Fixed(6))),
                ("__u8", "bytes", Some(ArrayLength::Dynamic)),
                ("struct cpumask *", "mask", None),
            ]
        );
        assert_eq!(format.field("filename").unwrap().location, Location::Data);
        assert_eq!(format.field("bytes").unwrap().location, Location::Relative);
        let pid = format.field("old_pid").unwrap();
        assert_eq!(
            (pid.offset, pid.size, pid.signed, pid.location),
            (16, 4, true, Location::Direct)
        );
        assert!(format.field("absent").is_none());
    }

    #[test]
    fn errors_name_file_and_line() {
        for (line, what) in [
            ("ID: x", "format:2: ID is not a number"),
            (
                "what: ever",
                "format:2: neither `name:`, `ID:`, `format:`, `field:` nor `print fmt:`",
            ),
            ("field:int a", "format:2: field without `;`"),
            ("field:int a;size:4;signed:1;", "format:2: field without offset"),
            ("field:int a;offset:0;size:-4;signed:1;", "format:2: size is not a number"),
            ("field:int a;offset:0;size:4;", "format:2: field without sign"),
            ("field:int a;offset:0;size:4;signed:2;", "format:2: sign is neither 0 nor 1"),
            (
                "field:int;offset:0;size:4;signed:1;",
                "format:2: field is not declared as type and name",
            ),
            ("field:a];offset:0;size:4;signed:1;", "format:2: `]` without `[`"),
        ] {
            let error = parse(&format!("name: event\n{line}\n")).unwrap_err().to_string();
            assert_eq!(error, what);
        }
        assert_eq!(parse("name: event\n").unwrap_err().to_string(), "format: no `ID`");
        assert_eq!(parse("ID: 1\n").unwrap_err().to_string(), "format: no `name`");
    }

    #[test]
    fn reads_a_file_system() {
        let root = std::env::temp_dir().join(format!("tracefs-test-{}", std::process::id()));
        let event = root.join("events/sched/sched_process_exec");
        std::fs::create_dir_all(&event).unwrap();
        std::fs::write(event.join("format"), EXEC).unwrap();
        std::fs::write(event.join("id"), "315\n").unwrap();
        let functions = "do_exit\n__ftrace_invalid_address___64\nnvme_probe [nvme]\n";
        std::fs::write(root.join("available_filter_functions"), functions).unwrap();
        let tracefs = Tracefs::at(&root);

        let format = tracefs.event("sched", "sched_process_exec");
        let functions = tracefs.filter_functions();
        let id = tracefs.event_id("sched", "sched_process_exec");
        let listed = (tracefs.subsystems(), tracefs.events("sched"), tracefs.events("absent"));
        let absent = tracefs.event("sched", "absent");
        let outside = tracefs.event("..", "sched");
        std::fs::remove_dir_all(&root).unwrap();

        assert_eq!(format.unwrap().id, 315);
        assert_eq!(id.unwrap(), 315);
        let expected = [("do_exit".into(), None), ("nvme_probe".into(), Some("nvme".into()))];
        assert_eq!(functions.unwrap(), expected);
        assert_eq!(listed.0.unwrap(), ["sched"]);
        assert_eq!(listed.1.unwrap(), ["sched_process_exec"]);
        assert_eq!(listed.2.unwrap(), [""; 0]);
        let absent = absent.unwrap_err().to_string();
        assert_eq!(absent, "this kernel has no tracepoint `sched/absent`");
        assert!(matches!(outside, Err(TracefsError::BadName(_))));
        for name in ["", "a/b", ".hidden", "a b"] {
            assert!(matches!(tracefs.event_id("sched", name), Err(TracefsError::BadName(_))));
        }
    }

    #[test]
    fn reads_every_format_of_the_running_kernel() {
        let tracefs = match Tracefs::find() {
            Ok(tracefs) => tracefs,
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let mut count = 0;
        for subsystem in tracefs.subsystems().unwrap() {
            for event in tracefs.events(&subsystem).unwrap() {
                // ftrace's own records have no format of a tracepoint, and some events no id.
                match tracefs.event(&subsystem, &event) {
                    Ok(format) => assert_eq!(format.name, event),
                    Err(TracefsError::NoEvent { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
                count += 1;
            }
        }
        assert!(count > 100, "{count} tracepoints");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in "\\PC{0,200}") {
            let _ = parse(&text);
            let _ = parse_function(&text);
        }

        #[test]
        fn any_field_is_refused_or_read(
            declaration in "(__data_loc |__rel_loc )?[a-z_ *\\[\\]0-9]{0,24}",
            rest in "(;? ?(offset|size|signed):[0-9x]{0,11}){0,4};?",
        ) {
            let _ = parse(&format!("name: e\nID: 1\n\tfield:{declaration}{rest}\n"));
        }
    }
}
