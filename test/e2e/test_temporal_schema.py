"""The schema in src/codec/temporal*.proto is Temporal's: every field, value and method, against the official files.

They come with the npm package of the SDK's core, fetched once per build folder with npm's own client; offline, or
without npm, the tests are skipped and say so. TEMPORAL_PROTOS names a folder that has them already.
"""
import copy
import glob
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from google.protobuf import descriptor_pb2

VERSION = "1.24.0"
INSIDE = "package/sdk-core/crates/protos/protos/"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SRC = os.path.join(ROOT, "src")
FIELD_MASK = 'syntax = "proto3"; package google.protobuf; message FieldMask { repeated string paths = 1; }\n'

# What hob's schema does not have of a message that it has. Nothing else may be missing.
LEFT_OUT = {
    "command.v1.Command.request_cancel_nexus_operation_command_attributes",
    "command.v1.Command.schedule_nexus_operation_command_attributes",
    "history.v1.HistoryEvent.nexus_operation_cancel_request_completed_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_cancel_request_failed_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_cancel_requested_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_canceled_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_completed_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_failed_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_scheduled_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_started_event_attributes",
    "history.v1.HistoryEvent.nexus_operation_timed_out_event_attributes",
    "worker.v1.WorkerHeartbeat.environment",
    "workflowservice.v1.DescribeWorkflowExecutionResponse.pending_nexus_operations",
    "workflowservice.v1.StartBatchOperationRequest.reset_activities_operation",
    "workflowservice.v1.StartBatchOperationRequest.unpause_activities_operation",
    "workflowservice.v1.StartBatchOperationRequest.update_activity_options_operation",
}


def build_folder():
    return os.environ.get("HOB_BUILD") or os.path.join(ROOT, "build-test")


def fetch_official():
    """The folder with the official files; a sentence when there is none."""
    if "TEMPORAL_PROTOS" in os.environ:
        return os.environ["TEMPORAL_PROTOS"], None
    home = os.path.join(build_folder(), f"temporal-protos-{VERSION}")
    if os.path.isdir(home):
        return home, None
    if not shutil.which("npm"):
        return None, "npm is not installed, and TEMPORAL_PROTOS names no folder"
    with tempfile.TemporaryDirectory(dir=build_folder()) as work:
        try:
            done = subprocess.run(["npm", "pack", "--silent", f"@temporalio/core-bridge@{VERSION}"], cwd=work,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            return None, "npm could not fetch the official files in five minutes"
        packed = glob.glob(os.path.join(work, "*.tgz"))
        if done.returncode != 0 or not packed:
            return None, f"npm could not fetch the official files: {done.stdout.strip()[-200:]}"
        with tarfile.open(packed[0]) as tar:
            for member in tar:
                if member.isfile() and member.name.startswith(INSIDE) and ".." not in member.name:
                    member.name = member.name[len(INSIDE):]
                    tar.extract(member, os.path.join(work, "protos"))
        os.rename(os.path.join(work, "protos"), home)
    return home, None


def compile_set(folders, names, into):
    command = ["protoc-c", "--include_imports", f"--descriptor_set_out={into}"] + [f"-I{f}" for f in folders] + names
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout)
    ret = descriptor_pb2.FileDescriptorSet()
    with open(into, "rb") as f:
        ret.ParseFromString(f.read())
    return ret


def index(files):
    """Full name (without the leading dot) -> message, enum, service descriptor."""
    found = {}

    def walk(message, prefix):
        name = f"{prefix}.{message.name}"
        found[name] = message
        for nested in message.nested_type:
            walk(nested, name)
        for enum in message.enum_type:
            found[f"{name}.{enum.name}"] = enum

    for file in files.file:
        for message in file.message_type:
            walk(message, file.package)
        for thing in list(file.enum_type) + list(file.service):
            found[f"{file.package}.{thing.name}"] = thing
    return found


def read_official_names():
    """tp.Name -> its official name, from the comment above each type."""
    names, pattern = {}, re.compile(r"(?:^// = (\S+)\n)?^(?:message|enum|service) (\w+)", re.M)
    for path in sorted(glob.glob(os.path.join(SRC, "codec", "temporal*.proto"))):
        with open(path, encoding="utf-8") as f:
            for official, own in pattern.findall(f.read()):
                names[f"tp.{own}"] = official
    return names


class Comparison:
    def __init__(self, ours, official, names):
        self.ours, self.official, self.names = index(ours), index(official), names
        self.wrong, self.left_out = [], set()

    def official_name(self, name):
        """Of a type of ours, nested ones by their parent's."""
        name, inner = name.lstrip("."), []
        while name not in self.names and "." in name:
            name, _, last = name.rpartition(".")
            inner.insert(0, last)
        return ".".join([self.names.get(name, ""), *inner])

    def describe(self, field, message, translate):
        type_name = field.type_name
        oneof = ""
        if field.HasField("oneof_index") and not field.proto3_optional:
            oneof = message.oneof_decl[field.oneof_index].name
        return (field.name, field.type, field.label, translate(type_name) if type_name else "", oneof,
                field.proto3_optional)

    def compare_message(self, own, name):
        theirs = self.official[name]
        by_number = {f.number: f for f in theirs.field}
        for field in self.ours[own].field:
            other = by_number.pop(field.number, None)
            mine = self.describe(field, self.ours[own], self.official_name)
            if other is None:
                self.wrong.append(f"{name}: there is no field {field.number} ({field.name})")
            elif mine != self.describe(other, theirs, lambda t: t.lstrip(".")):
                self.wrong.append(f"{name}: field {field.number} is {mine}, officially "
                                  f"{self.describe(other, theirs, lambda t: t.lstrip('.'))}")
        self.left_out |= {f"{name.removeprefix('temporal.api.')}.{f.name}" for f in by_number.values()}

    def compare_enum(self, own, name):
        mine = {(v.name, v.number) for v in self.ours[own].value}
        theirs = {(v.name, v.number) for v in self.official[name].value}
        if mine != theirs:
            self.wrong.append(f"{name}: differs in {sorted(mine ^ theirs)}")

    def compare_service(self, own, name):
        theirs = {m.name: m for m in self.official[name].method}
        for method in self.ours[own].method:
            other = theirs.get(method.name)
            if other is None or (self.official_name(method.input_type), self.official_name(method.output_type)) != (
                    other.input_type.lstrip("."), other.output_type.lstrip(".")):
                self.wrong.append(f"{name}/{method.name}: not officially so")

    def run(self):
        for own in self.ours:
            name = self.official_name(own)
            if type(self.official.get(name)) is not type(self.ours[own]):
                self.wrong.append(f"{own}: nothing is officially called {name!r}")
            elif isinstance(self.ours[own], descriptor_pb2.DescriptorProto):
                self.compare_message(own, name)
            elif isinstance(self.ours[own], descriptor_pb2.EnumDescriptorProto):
                self.compare_enum(own, name)
            else:
                self.compare_service(own, name)
        return self


class TemporalSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("protoc-c"):
            raise unittest.SkipTest("protoc-c is not installed")
        folder, why = fetch_official()
        if folder is None:
            raise unittest.SkipTest(why)
        upstream = os.path.join(folder, "api_upstream")
        with tempfile.TemporaryDirectory() as work:
            os.makedirs(os.path.join(work, "google", "protobuf"))
            with open(os.path.join(work, "google", "protobuf", "field_mask.proto"), "w", encoding="utf-8") as f:
                f.write(FIELD_MASK)  # the package leaves it to the compiler to bring this one
            wanted = [os.path.relpath(p, upstream) for p in
                      sorted(glob.glob(os.path.join(upstream, "temporal", "**", "*.proto"), recursive=True))]
            cls.official = compile_set([work, upstream, folder],
                                       wanted + ["grpc/health/v1/health.proto", "google/rpc/status.proto"],
                                       os.path.join(work, "official"))
            cls.ours = compile_set([SRC], ["codec/temporal.proto"], os.path.join(work, "ours"))
        cls.names = read_official_names()

    def test_every_field_value_and_method_is_the_official_one(self):
        seen = Comparison(self.ours, self.official, self.names).run()
        self.assertEqual([], seen.wrong)
        self.assertEqual(LEFT_OUT, seen.left_out)
        self.assertGreater(len(seen.ours), 400)

    def test_the_names_that_travel_are_the_official_ones(self):
        with open(os.path.join(SRC, "codec", "temporal.c"), encoding="utf-8") as f:
            rows = re.findall(r'X\(tp__(\w+), "([^"]+)"\)', f.read())
        own = {name.removeprefix("tp.").lower(): official for name, official in self.names.items()}
        self.assertGreater(len(rows), 20)
        for snake, official in rows:
            self.assertEqual(own.get(snake.replace("_", "")), official)
            self.assertIn(official, index(self.official))

    def compare_broken(self, change):
        """What the comparison says of a schema with this mistake in it."""
        broken = copy.deepcopy(self.ours)
        message = next(m for f in broken.file for m in f.message_type if m.name == "HistoryEvent")
        enum = next(e for f in broken.file for e in f.enum_type if e.name == "EventType")
        service = next(s for f in broken.file for s in f.service if s.name == "WorkflowService")
        change(message, enum, service)
        return Comparison(broken, self.official, self.names).run()

    def test_the_comparison_sees_each_kind_of_mistake(self):
        def number(m, _e, _s):
            m.field[0].number = 999

        def name(m, _e, _s):
            m.field[0].name = "id"

        def kind(m, _e, _s):
            m.field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_INT32

        def label(m, _e, _s):
            m.field[0].label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED

        def oneof(m, _e, _s):
            next(f for f in m.field if f.HasField("oneof_index")).ClearField("oneof_index")

        def other_type(m, _e, _s):
            next(f for f in m.field if f.name == "event_time").type_name = ".tp.Duration"

        def value(_m, e, _s):
            e.value[1].number = 99

        def value_gone(_m, e, _s):
            del e.value[5]

        def method(_m, _e, s):
            s.method[0].output_type = ".tp.ListNamespacesResponse"

        for change in (number, name, kind, label, oneof, other_type, value, value_gone, method):
            with self.subTest(change.__name__):
                self.assertEqual(1, len(self.compare_broken(change).wrong), change.__name__)

    def test_a_field_that_is_forgotten_is_seen(self):
        def forget(m, _e, _s):
            del m.field[0]
        self.assertEqual({"history.v1.HistoryEvent.event_id"}, self.compare_broken(forget).left_out - LEFT_OUT)


if __name__ == "__main__":
    unittest.main()
