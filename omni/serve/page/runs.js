// Runs and jobs.
export function showRuns() {}
