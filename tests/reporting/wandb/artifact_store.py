"""Artifacts of the stand-in: versions with their aliases, and the runs that made and used them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Version:
    """A version of an artifact.

    Attributes:
        name: Name of the artifact.
        type: Its type.
        made_by: Run that made it; None if a run that uses it has added it.
        aliases: Its aliases, without ``latest``.
        used_by: Runs that use it.
        files: Paths of its files.
        is_complete: True once it is committed.
    """

    name: str
    type: str
    made_by: str | None
    aliases: set[str] = field(default_factory=set)
    used_by: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)
    is_complete: bool = False


@dataclass
class ArtifactStore:
    """Versions by their ids; the same files under a name are one version.

    Attributes:
        address: Address of the server.
        versions: The versions.
    """

    address: str = ""
    versions: dict[str, Version] = field(default_factory=dict)

    def of_type(self, kind: str) -> list[Version]:
        """Return the versions of a type."""
        return [each for each in self.versions.values() if each.type == kind]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        """Return the data of an operation on artifacts; None for any other."""
        given = variables.get("input", variables)
        match operation:
            case "CreateArtifact":
                return {"createArtifact": {"artifact": self._created(given)}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                identity = given.get("artifactID") or given["artifactManifestID"]
                manifest = {"id": identity, "file": self._upload("manifest")}
                name = operation[0].lower() + operation[1:]
                return {name: {"artifactManifest": manifest}}
            case "CreateArtifactFiles":
                edges = [{"node": self._file(each)} for each in given["artifactFiles"]]
                return {"createArtifactFiles": {"files": {"edges": edges}}}
            case "CommitArtifact":
                self.versions[given["artifactID"]].is_complete = True
                artifact = {"id": given["artifactID"], "digest": "d"}
                return {"commitArtifact": {"artifact": artifact}}
            case "UseArtifact":
                self.versions[given["artifactID"]].used_by.add(given["runName"])
                return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}
        return None

    def _created(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["artifactCollectionName"]
        identity = f"{name}:{given['digest']}"
        made = Version(name, given["artifactTypeName"], given["runName"])
        version = self.versions.setdefault(identity, made)
        aliases = {each["alias"] for each in given["aliases"]} - {"latest"}
        for other in self.versions.values():  # an alias names one version
            if other.name == name:
                other.aliases -= aliases
        version.aliases |= aliases
        state = "COMMITTED" if version.is_complete else "PENDING"
        return {"id": identity, "state": state, "artifactSequence": {"latestArtifact": None}}

    def _file(self, given: dict[str, Any]) -> dict[str, Any]:
        self.versions[given["artifactID"]].files.append(given["name"])
        upload = self._upload(given["name"])
        return {"storagePath": given["name"], "artifact": {"id": given["artifactID"]}, **upload}

    def _upload(self, name: str) -> dict[str, Any]:
        address = f"{self.address}/upload/artifact/{name}"
        return {"id": name, "uploadUrl": address, "uploadHeaders": [], "uploadMultipartUrls": None}
