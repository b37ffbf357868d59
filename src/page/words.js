// All that the page says, in English and Chinese. `{0}` and `{1}` are filled in.

const WORDS = {
  lead: ['Log in under a name and talk. Each message shows what every stage of the server took.', '用一个名字登录，开始聊天。每条消息下面会显示服务器各阶段的耗时。'],
  name: ['Your name', '你的名字'],
  enter: ['Log in', '登录'],
  twoTabs: ['Two tabs are two people:', '两个标签页就是两个人：'],
  anotherTab: ['open another tab', '再开一个标签页'],
  leave: ['Log out', '退出'],
  with: ['Talk with', '和谁聊'],
  open: ['Open', '打开'],
  lobby: ['Lobby', '大厅'],
  unread: ['{0} new', '{0} 条新消息'],
  nobody: ['No conversation is open. Write somebody’s name, or go to the lobby.', '还没有打开会话。输入对方的名字，或进入大厅。'],
  silence: ['No messages yet. Say something.', '还没有消息，说点什么吧。'],
  loading: ['Reading history…', '正在读取历史…'],
  write: ['Message to {0}', '发给 {0}'],
  send: ['Send', '发送'],
  says: ['{0} says: {1}', '{0} 说：{1}'],
  you: ['You', '你'],

  waiting: ['no connection, trying again in {0} s', '连接断开，{0} 秒后重试'],
  connecting: ['connecting…', '连接中…'],
  connected: ['connected', '已连接'],
  ended: ['logged out', '已退出'],
  now: ['Try now', '立即重试'],

  unsent: ['waits for the connection', '等待连接'],
  sending: ['sending', '发送中'],
  sent: ['on disk', '已落盘'],
  delivered: ['delivered', '已送达'],
  read: ['read', '已读'],
  failed: ['not sent: {0}', '未发送：{0}'],
  again: ['Send again', '重发'],
  recalled: ['Recalled by its sender.', '消息已被撤回。'],
  other: ['A kind of message that this page does not show.', '此页面不支持的消息类型。'],

  refused: ['The server refused: {0}', '服务器拒绝：{0}'],
  broken: ['This page went wrong: {0}', '页面出错：{0}'],

  notSampled: ['journey not sampled', '未采样'],
  journey: ['Journey of {0}. {1}. Press for a table.', '全程 {0}。{1}。按下可展开表格。'],
  took: ['{0}: waited {1}, worked {2}', '{0}：等待 {1}，处理 {2}'],
  stage: ['stage', '阶段'],
  waited: ['waited', '等待'],
  worked: ['worked', '处理'],
  batch: ['batch', '批次'],
};

const chinese = navigator.language.toLowerCase().startsWith('zh');
export const language = chinese ? 'zh' : 'en';

export function say(key, ...values) {
  return WORDS[key][Number(chinese)].replace(/\{(\d)\}/g, (_, at) => values[at]);
}
