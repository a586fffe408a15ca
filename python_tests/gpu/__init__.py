"""What only a GPU can show: streams, graphs, several devices, full shapes, memory. Nothing here runs without one."""
