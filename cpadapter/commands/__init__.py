"""The sub-commands of `cpadapter`: each file does one of them, or a part that several share."""
