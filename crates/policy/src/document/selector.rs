//! Selectors: what has to hold, and what to do then.

use super::{Action, Workloads};
use crate::record::{choices, record};

record! {
    /// Filters, all of which must hold, and the actions to take then.
    pub struct Selector {
        /// Name of the selector in statistics.
        label "label": default String = String::new();
        /// Names of macros whose parts are merged in.
        macros "macros": empty Vec<String>;
        /// Filters by process id.
        pids "matchPIDs": empty Vec<PidFilter>;
        /// Filters by executable.
        binaries "matchBinaries": empty Vec<BinaryFilter>;
        /// Filters by the parent's executable.
        parent_binaries "matchParentBinaries": empty Vec<BinaryFilter>;
        /// Filters by argument.
        args "matchArgs": empty Vec<ArgumentFilter>;
        /// Filters by data.
        data "matchData": empty Vec<ArgumentFilter>;
        /// Filters by return value.
        return_args "matchReturnArgs": empty Vec<ArgumentFilter>;
        /// Filters by namespace.
        namespaces "matchNamespaces": empty Vec<NamespaceFilter>;
        /// Filters by change of namespace.
        namespace_changes "matchNamespaceChanges": empty Vec<NamespaceChange>;
        /// Filters by capability.
        capabilities "matchCapabilities": empty Vec<CapabilityFilter>;
        /// Filters by change of capabilities.
        capability_changes "matchCapabilityChanges": empty Vec<CapabilityFilter>;
        /// Restriction to workloads.
        workloads "matchWorkloads": optional Workloads;
        /// What to do; nothing given: Post.
        actions "matchActions": empty Vec<Action>;
        /// What to do at return.
        return_actions "matchReturnActions": empty Vec<Action>;
    }
}

record! {
    /// Filter by process id.
    pub struct PidFilter {
        /// In: one of the values; NotIn: none.
        operator "operator": required SetOperator;
        /// Process ids.
        values "values": required Vec<u32>;
        /// Compares the id in the process's own pid namespace.
        is_namespace_pid "isNamespacePID": default bool = false;
        /// Matches descendants as well.
        follow_forks "followForks": default bool = false;
    }
}

choices! {
    /// How a value relates to a set.
    pub enum SetOperator {
        /// Is in the set.
        In "In",
        /// Is not in the set.
        NotIn "NotIn",
    }
}

record! {
    /// Filter by executable.
    pub struct BinaryFilter {
        /// How the path relates to the values.
        operator "operator": required BinaryOperator;
        /// Paths, or their beginnings or ends.
        values "values": required Vec<String>;
        /// In and NotIn: matches descendants of a matching process as well.
        follow_children "followChildren": default bool = false;
    }
}

choices! {
    /// How the path of an executable relates to values.
    pub enum BinaryOperator {
        /// Is one of them.
        In "In",
        /// Is none of them.
        NotIn "NotIn",
        /// Begins with one of them.
        Prefix "Prefix",
        /// Begins with none of them.
        NotPrefix "NotPrefix",
        /// Ends with one of them.
        Postfix "Postfix",
        /// Ends with none of them.
        NotPostfix "NotPostfix",
    }
}

record! {
    /// Filter by a captured value.
    pub struct ArgumentFilter {
        /// matchArgs: index of the argument, as in its declaration (tracepoints: position in `args`);
        /// matchData: position in `data`; matchReturnArgs: 0.
        index "index": optional u32;
        /// Positions in `args` or `data`, instead of `index`; two for CapabilitiesGained: old, new.
        args "args": empty Vec<u32>;
        /// How the value relates to the given ones.
        operator "operator": required Operator;
        /// Given values: one must hold, for negated operators none may.
        values "values": empty Vec<String>;
    }
}

choices! {
    /// How a captured value relates to the given ones.
    pub enum Operator {
        /// Is one of them.
        Equal "Equal" | "eq",
        /// Is none of them.
        NotEqual "NotEqual" | "neq",
        /// Begins with one of them.
        Prefix "Prefix" | "prefix",
        /// Begins with none of them.
        NotPrefix "NotPrefix" | "notprefix",
        /// Ends with one of them.
        Postfix "Postfix" | "postfix",
        /// Ends with none of them.
        NotPostfix "NotPostfix" | "notpostfix",
        /// Is greater than one of them.
        GreaterThan "GreaterThan" | "GT" | "gt",
        /// Is less than one of them.
        LessThan "LessThan" | "LT" | "lt",
        /// Has a bit in common with one of them.
        Mask "Mask" | "mask",
        /// Source port is one of them.
        SPort "SPort" | "sport",
        /// Source port is none of them.
        NotSPort "NotSPort" | "notsport",
        /// Source port is privileged.
        SPortPriv "SPortPriv" | "sportpriv",
        /// Source port is not privileged.
        NotSPortPriv "NotSportPriv" | "NotSPortPriv" | "notsportpriv",
        /// Destination port is one of them.
        DPort "DPort" | "dport",
        /// Destination port is none of them.
        NotDPort "NotDPort" | "notdport",
        /// Destination port is privileged.
        DPortPriv "DPortPriv" | "dportpriv",
        /// Destination port is not privileged.
        NotDPortPriv "NotDPortPriv" | "notdportpriv",
        /// Source address is in one of them.
        SAddr "SAddr" | "saddr",
        /// Source address is in none of them.
        NotSAddr "NotSAddr" | "notsaddr",
        /// Destination address is in one of them.
        DAddr "DAddr" | "daddr",
        /// Destination address is in none of them.
        NotDAddr "NotDAddr" | "notdaddr",
        /// Protocol is one of them.
        Protocol "Protocol" | "protocol",
        /// Protocol is none of them.
        NotProtocol "NotProtocol",
        /// Address family is one of them.
        Family "Family" | "family",
        /// Address family is none of them.
        NotFamily "NotFamily",
        /// State of the connection is one of them.
        State "State" | "state",
        /// State of the connection is none of them.
        NotState "NotState",
        /// Is one of many, or in a range or list.
        InMap "InMap" | "inmap",
        /// Is none of many, nor in a range or list.
        NotInMap "NotInMap" | "notinmap",
        /// The second set has a capability that the first lacks.
        CapabilitiesGained "CapabilitiesGained" | "capabilitiesgained",
        /// Is in one of the ranges.
        InRange "InRange" | "inrange",
        /// Is in none of the ranges.
        NotInRange "NotInRange" | "notinrange",
        /// Contains one of them.
        SubString "SubString" | "substring",
        /// Contains none of them.
        NotSubString "NotSubString",
        /// Contains one of them, upper and lower case taken as equal.
        SubStringIgnCase "SubStringIgnCase" | "SubStringIgnoreCase" | "substringigncase",
        /// Contains none of them, upper and lower case taken as equal.
        NotSubStringIgnCase "NotSubStringIgnCase",
        /// A CEL expression over the arguments holds.
        CelExpr "CelExpr" | "celexpr",
        /// Is a file of one of these types.
        FileType "FileType" | "filetype",
        /// Is a file of none of these types.
        NotFileType "NotFileType" | "notfiletype",
    }
}

record! {
    /// Filter by namespace.
    pub struct NamespaceFilter {
        /// Which namespace.
        namespace "namespace": required NamespaceKind;
        /// In: one of the values; NotIn: none.
        operator "operator": required SetOperator;
        /// Inode numbers of namespaces, or host_ns.
        values "values": required Vec<String>;
    }
}

choices! {
    /// Kind of namespace.
    pub enum NamespaceKind {
        /// Host and domain name.
        Uts "Uts",
        /// System V IPC and message queues.
        Ipc "Ipc",
        /// Mounts.
        Mnt "Mnt",
        /// Process ids.
        Pid "Pid",
        /// Process ids of children to come.
        PidForChildren "PidForChildren",
        /// Network.
        Net "Net",
        /// Clocks.
        Time "Time",
        /// Clocks of children to come.
        TimeForChildren "TimeForChildren",
        /// Cgroup root.
        Cgroup "Cgroup",
        /// Users and groups.
        User "User",
    }
}

record! {
    /// Filter by change of namespace.
    pub struct NamespaceChange {
        /// In: one of the namespaces changed; NotIn: another one changed.
        operator "operator": required SetOperator;
        /// Kinds of namespaces.
        values "values": required Vec<String>;
    }
}

record! {
    /// Filter by capability.
    pub struct CapabilityFilter {
        /// Which set.
        kind "type": default CapabilitySet = CapabilitySet::Effective;
        /// In: one of the capabilities is set (or changed); NotIn: none (or only others).
        operator "operator": required SetOperator;
        /// Names of capabilities.
        values "values": required Vec<String>;
        /// Only for processes outside of the host's user namespace.
        is_namespace_capability "isNamespaceCapability": default bool = false;
    }
}

choices! {
    /// Set of capabilities.
    pub enum CapabilitySet {
        /// What is in force.
        Effective "Effective",
        /// What execve(2) keeps.
        Inheritable "Inheritable",
        /// What may be put in force.
        Permitted "Permitted",
    }
}
