//! What a change between two locks can be: one kind for each thing that the diff looks for.
//!
//! The tests follow this list: each kind has two locks that differ in it alone, so that they notice what is no longer
//! looked for.

use serde::Serialize;

/// Declares each kind once.
macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $kind:ident,)+) => {
        /// What a change is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ChangeKind {
            $($(#[doc = $about])+ $kind,)+
        }

        impl ChangeKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];
        }
    };
}

kinds! {
    /// A frame is built of other headers.
    Headers,
    /// A payload follows a frame.
    PayloadCame,
    /// A payload no longer follows a frame.
    PayloadGone,
    /// Another type in a place, and none of the replacements below.
    Type,
    /// A type is wrapped in an `Option`.
    OptionWrapped,
    /// A type is no longer an `Option`.
    OptionUnwrapped,
    /// A number of another width.
    Width,
    /// A number of another sign.
    Sign,
    /// A number of another sign and width.
    SignAndWidth,
    /// A struct or an enum has another name.
    TypeRenamed,
    /// Parts with names became parts without, or their number changed.
    PartsBuiltOtherwise,
    /// Fields are gone.
    FieldsRemoved,
    /// Fields stand behind the others.
    FieldsAppended,
    /// Fields stand before others.
    FieldsInserted,
    /// The same fields in another order.
    FieldsReordered,
    /// Fields have other names, or are others.
    FieldsRenamed,
    /// More than one of these.
    FieldsMixed,
    /// Variants are gone.
    VariantsRemoved,
    /// Variants stand behind the others.
    VariantsAppended,
    /// Variants stand before others.
    VariantsInserted,
    /// The same variants in another order.
    VariantsReordered,
    /// Variants have other names, or are others.
    VariantsRenamed,
    /// More than one of these.
    VariantsMixed,
    /// What all changes of a layout come to, where that is worse than each by itself, or none was told.
    Together,
    /// There is a hello.
    HelloCame,
    /// There is no longer a hello.
    HelloGone,
    /// A row lets a message be sent before it is understood.
    RowEarly,
    /// A message has a row.
    RowCame,
    /// A message no longer has a row.
    RowGone,
    /// A message's row says otherwise.
    RowChanged,
    /// A new wire version.
    VersionCame,
    /// A wire version is gone.
    VersionGone,
    /// A new kind of frame in a version.
    FrameCame,
    /// A kind of frame is gone from a version.
    FrameGone,
    /// A frame's number stands for another message.
    FrameNumber,
    /// A frame is sent in a version in which it was understood alone.
    FrameSent,
    /// A frame is no longer sent.
    FrameSilent,
    /// A train has another name.
    TrainRenamed,
    /// There is a train.
    TrainCame,
    /// There is no longer a train.
    TrainGone,
    /// A new release.
    ReleaseCame,
    /// A release is gone.
    ReleaseGone,
    /// A release does something else, or stands elsewhere.
    ReleaseChanged,
    /// A release calls a function that a release next to it does not have.
    FunctionMissed,
    /// A new function.
    FunctionCame,
    /// A function is gone.
    FunctionGone,
    /// A function's row says otherwise.
    FunctionRow,
    /// A function answers with a stream instead of a value, or the other way about.
    FunctionAnswers,
    /// The locks differ, and no change of another kind says in what.
    Unnamed,
}
