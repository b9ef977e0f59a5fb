//! The part of Kubernetes' object metadata that a policy's document may carry.

use crate::record::record;
use crate::schema::Anything;
use std::collections::BTreeMap;

record! {
    /// Kubernetes' object metadata.
    pub struct Metadata {
        /// Name of the policy: a DNS-1123 subdomain.
        name "name": required String;
        /// Namespace of a TracingPolicyNamespaced.
        namespace "namespace": optional String;
        /// Labels.
        labels "labels": empty BTreeMap<String, String>;
        /// Annotations.
        annotations "annotations": empty BTreeMap<String, String>;
        /// Generation, raised by the API server whenever the spec changes.
        generation "generation": optional i64;
        /// Identity that the API server gave.
        uid "uid": optional String;
        /// Version that the API server gave.
        resource_version "resourceVersion": optional String;
        /// When it was created.
        creation_timestamp "creationTimestamp": optional String;
        /// When it will be deleted.
        deletion_timestamp "deletionTimestamp": optional String;
        /// Seconds until then.
        deletion_grace_period_seconds "deletionGracePeriodSeconds": optional i64;
        /// Prefix of a name that the API server completes.
        generate_name "generateName": optional String;
        /// What has to happen before the object may be deleted.
        finalizers "finalizers": empty Vec<String>;
        /// Owners, which only Kubernetes' garbage collection reads.
        owner_references "ownerReferences": optional Anything;
        /// Who manages which field, which only the API server reads.
        managed_fields "managedFields": optional Anything;
        /// Address of the object in older API servers.
        self_link "selfLink": optional String;
    }
}
