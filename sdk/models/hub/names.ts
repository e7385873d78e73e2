/** What stands before the name of a model of Baidu AI Studio. */
export const aiStudioPrefix = 'aistudio:'
